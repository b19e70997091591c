// Registers an instance, renews it, discovers it, follows its events, deregisters. Only the standard library.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

var address = "http://127.0.0.1:8000"

func request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, address+path, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token := os.Getenv("MUSTERD_TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err == nil && answer.StatusCode >= 300 {
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("%s %s: %s %s", method, path, answer.Status, text)
	}
	return answer, err
}

// ask sends one request and reads the answer.
func ask(method, path string, body any) map[string]any {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := request(ctx, method, path, body)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var value map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&value); err != nil && err != io.EOF {
		log.Fatal(err)
	}
	return value
}

// follow sends the kind of each event of the instance.
func follow(ctx context.Context, id string, events chan<- string) {
	answer, err := request(ctx, "GET", "/watch?service=example", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	close(ready)
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "data:") {
			continue
		}
		data := strings.TrimPrefix(lines.Text(), "data:")
		var event struct {
			Event     string `json:"event"`
			ServiceID string `json:"service_id"`
		}
		if json.Unmarshal([]byte(data), &event) == nil && event.ServiceID == id {
			events <- event.Event
		}
	}
}

var ready = make(chan struct{})

func main() {
	if given := os.Getenv("MUSTERD_ADDRESS"); given != "" {
		address = given
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan string, 16)
	go follow(ctx, "go-1", events)
	<-ready

	ask("POST", "/services/register", map[string]any{
		"service_id": "go-1", "service_name": "example", "host": "127.0.0.1", "port": 8081, "ttl": "30s",
	})
	fmt.Println("registered go-1")
	ask("POST", "/services/go-1/heartbeat", nil)
	fmt.Println("renewed")

	found := ask("GET", "/services/discover/example", nil)
	for _, one := range found["services"].([]any) {
		if one.(map[string]any)["service_id"] == "go-1" {
			fmt.Println("discovered go-1")
		}
	}

	select {
	case event := <-events:
		fmt.Println("event", event)
	case <-time.After(10 * time.Second):
		log.Fatal("no event came")
	}
	cancel()

	ask("DELETE", "/services/go-1", nil)
	fmt.Println("deregistered")
}

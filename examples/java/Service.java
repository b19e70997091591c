import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Registers an instance, renews it, discovers it, follows its events, deregisters. Only the standard library. */
public class Service {
    static final String ADDRESS = System.getenv().getOrDefault("MUSTERD_ADDRESS", "http://127.0.0.1:8000");
    static final String TOKEN = System.getenv("MUSTERD_TOKEN");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static HttpRequest.Builder request(String path) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(ADDRESS + path));
        request.header("Content-Type", "application/json");
        if (TOKEN != null) {
            request.header("Authorization", "Bearer " + TOKEN);
        }
        return request;
    }

    /** Sends one request; a refusal is an exception with the daemon's words. */
    static String ask(String method, String path, String body) throws IOException, InterruptedException {
        HttpRequest request =
                request(path).timeout(Duration.ofSeconds(10)).method(method, BodyPublishers.ofString(body)).build();
        HttpResponse<String> answer = CLIENT.send(request, BodyHandlers.ofString());
        if (answer.statusCode() >= 300) {
            throw new IOException(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
        }
        return answer.body();
    }

    public static void main(String[] arguments) throws Exception {
        HttpResponse<Stream<String>> stream =
                CLIENT.send(request("/watch?service=example").build(), BodyHandlers.ofLines());
        Pattern event = Pattern.compile("\"event\":\"([a-z_]+)\",\"service_id\":\"java-1\"");
        CompletableFuture<String> first =
                CompletableFuture.supplyAsync(
                        () ->
                                stream.body()
                                        .map(event::matcher)
                                        .filter(Matcher::find)
                                        .map(found -> found.group(1))
                                        .findFirst()
                                        .orElseThrow());

        ask(
                "POST",
                "/services/register",
                "{\"service_id\":\"java-1\",\"service_name\":\"example\",\"host\":\"127.0.0.1\",\"port\":8081,\"ttl\":\"30s\"}");
        System.out.println("registered java-1");
        ask("POST", "/services/java-1/heartbeat", "");
        System.out.println("renewed");

        if (!ask("GET", "/services/discover/example", "").contains("\"service_id\":\"java-1\"")) {
            throw new IllegalStateException("not found");
        }
        System.out.println("discovered java-1");

        System.out.println("event " + first.get(10, TimeUnit.SECONDS));

        ask("DELETE", "/services/java-1", "");
        System.out.println("deregistered");
        System.exit(0);
    }
}

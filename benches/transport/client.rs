//! An HTTP client that costs next to nothing: a plain socket, kept alive, one request at a time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

/// A kept connection.
pub(crate) struct Client {
    socket: TcpStream,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) fn open(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).expect("the daemon listens");
        socket.set_nodelay(true).expect("a TCP socket");
        Self {
            socket,
            out: Vec::new(),
            answer: vec![0; 64 * 1024],
        }
    }

    /// One request, which must be answered with 200; its body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> &[u8] {
        self.out.clear();
        request(&mut self.out, method, path, body);
        self.socket.write_all(&self.out).expect("the daemon reads");
        let mut read = 0;
        loop {
            let size = self.socket.read(&mut self.answer[read..]);
            let size = size.expect("the daemon writes");
            assert!(size > 0, "the daemon hung up");
            read += size;
            if let Some((begin, end)) = complete(&self.answer[..read]) {
                let head = String::from_utf8_lossy(&self.answer[..begin]);
                assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {head}");
                return &self.answer[begin..end];
            }
        }
    }
}

/// Where the body of an answer begins and ends, once it is all there.
fn complete(answer: &[u8]) -> Option<(usize, usize)> {
    let begin = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = number_after(&answer[..begin], b"content-length: ").expect("a length");
    let end = begin + usize::try_from(length).expect("a small answer");
    (answer.len() >= end).then_some((begin, end))
}

/// The number behind the first occurrence of `key`.
pub(crate) fn number_after(text: &[u8], key: &[u8]) -> Option<u64> {
    let at = text.windows(key.len()).position(|part| part == key)? + key.len();
    let digits = text[at..].iter().take_while(|digit| digit.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn request(out: &mut Vec<u8>, method: &str, path: &str, body: &[u8]) {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// A registration of one of 1,000 instances of 20 services, with a value that makes it a change.
pub(crate) fn registration(n: u64) -> String {
    let id = n % 1_000;
    format!(
        r#"{{"service_id":"load-{id}","service_name":"load-{}","host":"10.0.0.1","port":8080,"metadata":{{"region":"eu-1","build":"{n}"}},"tags":["v2","http"],"version":"2.1.0","ttl":"10m"}}"#,
        id % 20
    )
}

/// So many changes, as fast as they are taken, over one connection.
pub(crate) fn register_many(
    addr: SocketAddr,
    numbers: std::ops::Range<u64>,
    registration: impl Fn(u64) -> String,
) {
    let mut socket = TcpStream::connect(addr).expect("the daemon listens");
    let mut reader = socket.try_clone().expect("a second handle");
    let n_answers = numbers.end - numbers.start;
    let counter = thread::spawn(move || {
        let (mut seen, mut read) = (0, 0);
        let mut buffer = vec![0; 64 * 1024];
        while seen < n_answers {
            let size = reader.read(&mut buffer[read..]).expect("the daemon writes");
            assert!(size > 0, "the daemon hung up after {seen} answers");
            read += size;
            let mut begin = 0;
            while let Some((_, end)) = complete(&buffer[begin..read]) {
                assert!(buffer[begin..read].starts_with(b"HTTP/1.1 200"), "refused");
                (begin, seen) = (begin + end, seen + 1);
            }
            buffer.copy_within(begin..read, 0);
            read -= begin;
        }
    });
    let mut out = Vec::new();
    for n in numbers {
        out.clear();
        let body = registration(n);
        request(&mut out, "POST", "/services/register", body.as_bytes());
        socket.write_all(&out).expect("the daemon reads");
    }
    counter.join().expect("every answer is a 200");
}

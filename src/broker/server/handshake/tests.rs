use super::*;

#[test]
fn the_log_names_what_a_client_speaks() {
    let cases: [(&[u8], &str); 9] = [
        (b"AMQP\0\x01\0\0", "AMQP 1.0.0 with protocol id 0"),
        (b"AMQP\x03\x01\0\0", "AMQP 1.0.0 with protocol id 3"),
        (b"AMQP\0\0\x09\x02", "AMQP 0.9.2 with protocol id 0"),
        (b"AMQX", "AMQP"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (b"\x16\x03\x01\x00\xa5", "TLS"),
        (b"SSH-2.0-OpenSSH", "an unknown protocol"),
        (b"", "an unknown protocol"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(protocol_of(bytes), expected);
    }
}

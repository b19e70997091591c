//! What strangers send: garbage, slow and many connections, queries that are too large.

use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use super::DnsDaemon;

/// A query for the addresses of `web.service.musterd`.
const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\x07service\x07musterd\0\0\x01\0\x01";

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

fn connect(daemon: &DnsDaemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.dns).unwrap();
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// One answer; none when the connection is closed.
fn answer(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

#[tokio::test]
async fn garbage_gets_no_answer_or_an_error_and_nothing_breaks() {
    let daemon = DnsDaemon::start(&[]);
    daemon.register("a", "web", "10.0.0.1", 80).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut seed = 7_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    };
    for round in 0..3000_usize {
        let mut message = QUERY.to_vec();
        match round % 3 {
            0 => message = (0..round % 700).map(|_| next()).collect(),
            1 => message.truncate(round % QUERY.len()),
            _ => {
                let at = usize::from(next()) % message.len();
                message[at] = next();
            }
        }
        let _ = socket.send_to(&message, daemon.dns);
    }
    let given = daemon.dig("+short web.service.musterd A");
    assert_eq!(given, ["10.0.0.1"]);
    let mut stream = connect(&daemon);
    stream.write_all(&[0xff; 5000]).unwrap();
    assert_eq!(answer(&mut stream), None, "a length beyond dns.query_max");
}

#[tokio::test]
async fn connections_have_limits_and_answers_come_in_order() {
    let daemon = DnsDaemon::start(&[
        "dns.connections_per_address_max=3",
        "dns.idle=600ms",
        "dns.query_max=512B",
    ]);
    daemon.register("a", "web", "10.0.0.1", 80).await;
    let mut stream = connect(&daemon);
    let mut many = Vec::new();
    for id in 0..50_u8 {
        let mut query = QUERY.to_vec();
        query[1] = id;
        many.extend(framed(&query));
    }
    stream.write_all(&many).unwrap();
    for id in 0..50 {
        let answer = answer(&mut stream).unwrap();
        assert_eq!(answer[..2], [0, id]);
        assert!(answer.ends_with(&[0, 4, 10, 0, 0, 1]), "{answer:?}");
    }
    let mut others = [connect(&daemon), connect(&daemon)];
    for other in &mut others {
        other.write_all(&framed(QUERY)).unwrap();
        assert!(answer(other).is_some());
    }
    let mut refused = connect(&daemon);
    let _ = refused.write_all(&framed(QUERY));
    assert_eq!(answer(&mut refused), None, "a fourth connection");
    // Each is closed when it is idle, also in the middle of a query.
    others[0].write_all(&framed(QUERY)[..9]).unwrap();
    for other in &mut others {
        assert_eq!(answer(other), None);
    }
    let mut again = connect(&daemon);
    again.write_all(&framed(&[0; 513])).unwrap();
    assert_eq!(answer(&mut again), None, "a query beyond dns.query_max");
    let log = daemon.daemon.stop();
    assert!(
        log.iter().any(|line| line["message"] == "stopped"),
        "{log:#?}"
    );
}

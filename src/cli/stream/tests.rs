use super::{StreamMessage, StreamReader};

#[test]
fn messages_are_cut_out_of_a_stream_however_it_arrives() {
    let text =
        b": hello\n\nevent: snapshot\r\nid: e-1\r\ndata: {\"a\":1}\r\n\r\nid: e-2\ndata: {}\n\n";
    let message = |event: &str, id: &str, data: &str| StreamMessage {
        event: event.to_owned(),
        id: id.to_owned(),
        data: data.to_owned(),
    };
    let expected = [
        message("snapshot", "e-1", "{\"a\":1}"),
        message("", "e-2", "{}"),
    ];
    for size in 1..text.len() {
        let mut reader = StreamReader::default();
        let mut found = Vec::new();
        for piece in text.chunks(size) {
            found.extend(reader.take(piece).unwrap());
        }
        assert_eq!(found, expected, "pieces of {size} bytes");
    }
}

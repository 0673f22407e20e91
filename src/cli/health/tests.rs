use std::net::TcpListener;

use super::*;

/// What health says of a server that reads the request and writes `answer`.
fn asked(answer: &'static [u8]) -> Result<i32, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; REQUEST.len()];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(answer).unwrap();
        request
    });
    let outcome = ask(address);
    assert_eq!(server.join().unwrap(), REQUEST);
    outcome.map_err(|error| error.to_string())
}

#[test]
fn the_request_is_an_api_versions_request_of_version_0() {
    let head = crate::protocol::frame::parse(bytes::Bytes::from_static(&REQUEST[4..])).unwrap();
    assert_eq!(usize::try_from(i32::from_be_bytes(*REQUEST.first_chunk().unwrap())), Ok(REQUEST.len() - 4));
    assert_eq!((head.api_key, head.api_version, head.correlation_id), (18, 0, CORRELATION_ID));
    assert_eq!(head.client_id.as_deref(), Some("ottla-health"));
    assert!(head.body.is_empty());
}

#[test]
fn an_answer_with_apis_is_good() {
    assert_eq!(asked(b"\0\0\0\x10heal\0\0\0\0\0\x01\0\x12\0\0\0\x04"), Ok(1));
}

#[test]
fn any_other_answer_is_not() {
    let foreign = Err("what answers does not speak Kafka's protocol".to_owned());
    assert_eq!(asked(b"HTTP/1.1 400 Bad Request\r\n\r\n"), foreign);
    assert_eq!(asked(b"\0\0\0\x0aHEAL\0\0\0\0\0\x01"), foreign);
    assert_eq!(asked(b"\0\0\0\x05heal\0"), foreign);
    assert_eq!(asked(b"\xff\xff\xff\xff"), foreign);
    assert_eq!(asked(b"\0\0\0\x0aheal\0\x23\0\0\0\0"), Err("error code 35".to_owned()));
    assert_eq!(asked(b"\0\0\0\x0ahea"), Err("the connection was closed before the answer".to_owned()));
}

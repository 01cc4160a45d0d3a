use super::*;

#[test]
fn a_missing_key_counts_as_zero() {
    let mut replica = Replica::default();
    let result = replica.write(increment("n", -3));
    assert_eq!(result, Ok(Success::Increment { revision: 2, index: 1, number: -3 }));
    assert_eq!(replica.value("n").as_deref(), Some("-3"));
    assert_eq!(number(&replica.write(increment("n", 5))), Some(2));
    assert_eq!(replica.value("n").as_deref(), Some("2"));
}

#[test]
fn an_increment_by_zero_is_a_write() {
    let mut replica = Replica::default();
    replica.write(increment("n", 0)).unwrap();
    assert_eq!((replica.value("n").as_deref(), replica.revision()), (Some("0"), 2));
}

#[test]
fn decimal_integers_are_numbers_also_with_leading_zeros() {
    let cases = [
        ("0", 0),
        ("-0", 0),
        ("007", 7),
        ("-00012", -12),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ];
    for (text, value) in cases {
        let mut replica = Replica::default();
        replica.write(put("n", text)).unwrap();
        assert_eq!(number(&replica.write(increment("n", 0))), Some(value), "{text}");
        assert_eq!(replica.value("n"), Some(value.to_string()));
    }
}

#[test]
fn anything_else_is_refused_and_stays() {
    let cases = ["", "-", "+1", " 1", "1 ", "1\n", "1.0", "0x1", "1e3", "--1", "٣", "abc"];
    let too_long = ["9223372036854775808", "-9223372036854775809"];
    for text in cases.into_iter().chain(too_long) {
        let mut replica = Replica::default();
        replica.write(put("n", text)).unwrap();
        let refused = replica.write(increment("n", 1));
        assert_eq!(code(&refused), Some(ErrorCode::BadRequest), "{text:?}");
        assert_eq!((replica.value("n").as_deref(), replica.revision()), (Some(text), 2));
    }
}

#[test]
fn bytes_that_are_not_text_are_not_a_number() {
    let mut replica = Replica::default();
    let value = Bytes::from_static(&[0xff, b'1']);
    replica.write(WriteOp::Put { key: bytes("n"), value, return_previous: false }).unwrap();
    assert_eq!(code(&replica.write(increment("n", 1))), Some(ErrorCode::BadRequest));
}

#[test]
fn an_overflow_is_refused_in_both_directions() {
    for (start, by) in [(i64::MAX, 1), (i64::MIN, -1), (1, i64::MAX), (-2, i64::MIN)] {
        let mut replica = Replica::default();
        replica.write(increment("n", start)).unwrap();
        assert_eq!(code(&replica.write(increment("n", by))), Some(ErrorCode::BadRequest));
        assert_eq!((replica.value("n"), replica.revision()), (Some(start.to_string()), 2));
    }
}

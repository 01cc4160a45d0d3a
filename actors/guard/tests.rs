//! Headers, however they are cut, and what they count.

use std::sync::atomic::Ordering;

use super::{Arriving, Headers, Held, Refused};

fn frame(length: usize, masked: bool) -> Vec<u8> {
    let mut out = vec![0x82];
    let mask = if masked { 0x80u8 } else { 0 };
    match length {
        0..126 => out.push(mask | u8::try_from(length).unwrap()),
        126..65_536 => {
            out.push(mask | 126);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
    out
}

#[test]
fn frames_of_every_size_pass_however_they_are_cut() {
    let all: Vec<u8> =
        [0, 1, 125, 126, 300, 65_535, 65_536].iter().flat_map(|n| frame(*n, true)).collect();
    for cut in [1, 2, 3, 7, 1_000, all.len()] {
        let (mut headers, arriving) = (Headers::default(), Arriving::new(0));
        let mut held = Held { arriving: Some(arriving.clone()), bytes: 0 };
        for chunk in all.chunks(cut) {
            assert_eq!(headers.pass(chunk, 65_536, &mut held), Ok(()), "cut into {cut}");
        }
        assert_eq!(arriving.held.load(Ordering::Relaxed), 0, "all are whole");
        assert_eq!((headers.have, headers.skip), (0, 0));
    }
}

#[test]
fn a_header_that_announces_too_much_ends_it_at_once() {
    let mut headers = Headers::default();
    let terabyte = [&[0x82u8, 0xff][..], &(1u64 << 40).to_be_bytes()].concat();
    let mut held = Held::default();
    assert_eq!(headers.pass(&frame(10, true), 100, &mut held), Ok(()));
    assert_eq!(headers.pass(&terabyte, 100, &mut held), Err(Refused::TooLong(1 << 40)));
}

#[test]
fn what_is_not_whole_counts_together_until_it_is_or_its_connection_ends() {
    let arriving = Arriving::new(250_000);
    let connection = || {
        let held = Held { arriving: Some(arriving.clone()), bytes: 0 };
        (Headers::default(), held)
    };
    let large = frame(100_000, true);
    let (begin, rest) = large.split_at(500);
    let ((mut one, mut by_one), (mut two, mut by_two)) = (connection(), connection());
    assert_eq!(one.pass(begin, 1 << 20, &mut by_one), Ok(()));
    assert_eq!(two.pass(begin, 1 << 20, &mut by_two), Ok(()));
    let (mut three, mut by_three) = connection();
    assert_eq!(three.pass(begin, 1 << 20, &mut by_three), Err(Refused::Crowded));
    drop(by_three);
    let (mut short, mut by_short) = connection();
    assert_eq!(short.pass(&frame(50_000, true), 1 << 20, &mut by_short), Ok(()));
    // A part that is whole is no message yet; a ping between the parts ends nothing.
    let (mut four, mut by_four) = connection();
    drop(by_two);
    let part = [&[0x02], large.get(1..).unwrap(), &[0x89, 0x80, 0, 0, 0, 0]].concat();
    assert_eq!(four.pass(&part, 1 << 20, &mut by_four), Ok(()));
    assert_eq!(arriving.held.load(Ordering::Relaxed), 200_000);
    assert_eq!(one.pass(rest, 1 << 20, &mut by_one), Ok(()));
    assert_eq!(arriving.held.load(Ordering::Relaxed), 100_000);
    drop(by_four);
    assert_eq!(arriving.held.load(Ordering::Relaxed), 0);
}

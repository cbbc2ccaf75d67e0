//! The bytes are those that nft(8) sends for the same, as far as it says nothing more.

use super::*;
use crate::linux::net::answers;

fn payloads(changes: &[Change]) -> Vec<(u16, u16, Vec<u8>)> {
    answers(&batch(changes, None)).map(|message| (message.kind, message.flags, message.payload.to_vec())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute: length, type, contents, up to a multiple of four bytes.
fn attribute(kind: u16, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [&(contents.len() as u16 + 4).to_ne_bytes()[..], &kind.to_ne_bytes(), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, contents: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &contents.concat())
}

fn word(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn web(at: Option<&str>) -> Mapping {
    Mapping { protocol: 6, at: at.map(|at| at.parse().unwrap()), port: 8080, to: ("10.91.0.2".parse().unwrap(), 80) }
}

#[test]
fn a_transaction_has_a_begin_and_an_end() {
    let bytes = batch(&[Change::Table, Change::Flush(c"ports".into())], Some(7));
    let found: Vec<_> = answers(&bytes).map(|message| (message.kind, message.flags, message.sequence)).collect();
    // NLM_F_REQUEST, _ACK (of the last change alone), _CREATE.
    assert_eq!(found, [(0x10, 1, 7), (0xa00, 0x401, 8), (0xa08, 5, 9), (0x11, 1, 10)]);
    assert_eq!(hex(&payloads(&[])[0].2), "0000000a");
    let quiet = batch(&[Change::DeleteTable { whole: true }], None);
    assert!(answers(&quiet).all(|message| message.sequence == 0 && message.flags & 4 == 0));
    assert_eq!(payloads(&[Change::Table])[1].2, [&[1, 0, 0, 0][..], b"\x0a\0\x01\0nsctl\0"].concat());
}

#[test]
fn elements_are_as_nft_has_them() {
    let mapping = web(Some("127.0.0.1"));
    let message = &payloads(&[Change::Elements(mapping.map(), vec![mapping])])[1];
    let element = nested(
        1,
        &[
            nested(1, &[attribute(1, b"\x7f\0\0\x01\x06\0\0\0\x1f\x90\0\0")]),
            nested(2, &[attribute(1, b"\x0a\x5b\0\x02\0\x50\0\0")]),
        ],
    );
    let expected = [vec![1, 0, 0, 0], attribute(1, b"nsctl\0"), attribute(2, b"ports_at\0"), nested(3, &[element])];
    assert_eq!((message.0, hex(&message.2)), (0xa0c, hex(&expected.concat())));
}

#[test]
fn maps_are_as_nft_has_them() {
    for (map, key, length, data, data_length) in [
        (Map { v6: false, at: false }, 0x30d, 8, 0x1cd, 8),
        (Map { v6: false, at: true }, 0x730d, 12, 0x1cd, 8),
        (Map { v6: true, at: false }, 0x30d, 8, 0x20d, 20),
        (Map { v6: true, at: true }, 0x830d, 24, 0x20d, 20),
    ] {
        let body = &payloads(&[Change::Map(map)])[1].2;
        let expected = [word(3, 8), word(4, key), word(5, length), word(6, data), word(7, data_length)].concat();
        assert!(body.windows(expected.len()).any(|part| part == expected), "{}", map.name().to_string_lossy());
    }
}

#[test]
fn a_rule_is_a_list_of_expressions() {
    let rule = Change::Rule { chain: c"nat-nsctl0".into(), rule: Rule::FromLoopback { interface: c"nsctl0".into() } };
    let one = |name: &[u8], data: &[Vec<u8>]| nested(1, &[attribute(1, name), nested(2, data)]);
    let compare = |with: &[u8]| one(b"cmp\0", &[word(1, 8), word(2, 0), nested(3, &[attribute(1, with)])]);
    let expected = [
        vec![1, 0, 0, 0],
        attribute(1, b"nsctl\0"),
        attribute(2, b"nat-nsctl0\0"),
        nested(
            4,
            &[
                one(b"meta\0", &[word(1, 8), word(2, 15)]),
                compare(&[2]),
                one(b"payload\0", &[word(1, 8), word(2, 1), word(3, 12), word(4, 4)]),
                one(
                    b"bitwise\0",
                    &[
                        word(1, 8),
                        word(2, 8),
                        word(3, 4),
                        nested(4, &[attribute(1, &[255, 0, 0, 0])]),
                        nested(5, &[attribute(1, &[0; 4])]),
                    ],
                ),
                compare(&[127, 0, 0, 0]),
                one(b"meta\0", &[word(1, 8), word(2, 7)]),
                compare(b"nsctl0\0\0\0\0\0\0\0\0\0\0"),
                one(b"masq\0", &[]),
            ],
        ),
    ];
    let message = &payloads(&[rule])[1];
    assert_eq!((message.0, message.1, hex(&message.2)), (0xa06, 0xc01, hex(&expected.concat())));
}

#[test]
fn many_ports_go_in_several_messages() {
    let many: Vec<Mapping> = (0..250).map(|port| Mapping { port, ..web(None) }).collect();
    let split: Vec<_> = elements(&many).map(|(map, of)| (map, of.len())).collect();
    let map = Map { v6: false, at: false };
    assert_eq!(split, [(map, 100), (map, 100), (map, 50)]);
    let v6 = Mapping { at: Some("::1".parse().unwrap()), to: ("fd00::2".parse().unwrap(), 80), ..web(None) };
    let longest = [Change::Elements(v6.map(), vec![v6; 100])];
    assert!(batch(&longest, None).len() <= crate::linux::net::undo::MOST);
}

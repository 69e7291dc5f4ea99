//! Changes single fields of a Protocol Buffers message. All others stay, byte for byte: weights of gigabytes, and what a
//! newer ONNX adds.

use prost::DecodeError;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

/// Limits how deep groups lie within groups. (ONNX uses none.)
type Context = prost::encoding::DecodeContext;

/// What becomes of a field.
pub(super) enum Edit {
    Keep,
    Remove,
    Replace(Vec<u8>),
}

/// Returns the message after `edit` has seen each field that holds bytes: a string or another message.
pub(super) fn edit<E: From<DecodeError>>(
    message: &[u8],
    mut edit: impl FnMut(u32, &[u8]) -> Result<Edit, E>,
) -> Result<Vec<u8>, E> {
    let mut edited = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let field = rest;
        let (tag, wire_type) = decode_key(&mut rest)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut rest, Context::default())?;
            edited.extend_from_slice(&field[..field.len() - rest.len()]);
            continue;
        }
        let mut content = rest;
        skip_field(wire_type, tag, &mut rest, Context::default())?;
        decode_varint(&mut content)?; // its length, which is right
        let content = &content[..content.len() - rest.len()];
        match edit(tag, content)? {
            Edit::Keep => edited.extend_from_slice(&field[..field.len() - rest.len()]),
            Edit::Remove => {}
            Edit::Replace(new) => append(tag, &new, &mut edited),
        }
    }
    Ok(edited)
}

/// Appends a field that holds bytes.
pub(super) fn append(tag: u32, content: &[u8], to: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1: varint 300; 2: "abc"; 3: fixed 32 bits; 2: "d"; 4: fixed 64 bits; 5: nothing.
    const MESSAGE: &[u8] =
        b"\x08\xac\x02\x12\x03abc\x1d\x01\x02\x03\x04\x12\x01d\x21\x01\x02\x03\x04\x05\x06\x07\x08\x2a\x00";

    fn same(_: u32, _: &[u8]) -> Result<Edit, DecodeError> {
        Ok(Edit::Keep)
    }

    #[test]
    fn other_fields_stay() -> Result<(), DecodeError> {
        assert_eq!(edit(MESSAGE, same)?, MESSAGE);
        let mut seen = Vec::new();
        let edited = edit(MESSAGE, |tag, content| {
            seen.push((tag, content.to_vec()));
            Ok::<_, DecodeError>(match content {
                b"abc" => Edit::Replace(b"x".repeat(200)),
                b"d" => Edit::Remove,
                _ => Edit::Keep,
            })
        })?;
        assert_eq!(seen, [(2, b"abc".to_vec()), (2, b"d".to_vec()), (5, Vec::new())]);
        let expected = [&MESSAGE[..3], b"\x12\xc8\x01", &b"x".repeat(200), &MESSAGE[8..13], &MESSAGE[16..]].concat();
        assert_eq!(edited, expected);
        Ok(())
    }

    #[test]
    fn broken_messages_are_errors() {
        let end_of_field = [0, 3, 8, 13, 16, 25];
        for len in 0..MESSAGE.len() {
            assert_eq!(edit(&MESSAGE[..len], same).is_ok(), end_of_field.contains(&len), "{len} bytes");
        }
        // Longer than any memory; a varint without end; a wire type that does not exist.
        for broken in [&b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], &[0xff; 20], b"\x0f"] {
            assert!(edit(broken, same).is_err());
        }
    }
}

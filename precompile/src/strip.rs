//! Components without what no device reads.

use wasm_encoder::{ComponentSectionId, RawSection, Section as _, SectionId};
use wasmparser::{BinaryReaderError, Parser, Payload};

/// Drops every custom section of a component and of the modules and components in it:
/// names of functions, debugging information, the list of tools that made it.
///
/// The engine would copy names into the artifact, for backtraces that devices do not take.
/// Custom sections never change what code does.
///
/// # Errors
///
/// When `component` is not well-formed. A checked component is.
pub fn strip_component(component: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    /// A component or module that has begun: the bytes so far, and the section of its
    /// parent that it is.
    struct Open {
        bytes: Vec<u8>,
        section: u8,
    }
    let mut open = Vec::<Open>::new();
    let mut next_section = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { range, .. } => {
                open.push(Open {
                    bytes: component[range].to_vec(),
                    section: next_section,
                });
            }
            Payload::ModuleSection { .. } => next_section = ComponentSectionId::CoreModule.into(),
            Payload::ComponentSection { .. } => {
                next_section = ComponentSectionId::Component.into();
            }
            Payload::CustomSection(_) => {}
            Payload::End(_) => {
                // The parser ends exactly what it has begun.
                let Some(closed) = open.pop() else { break };
                match open.last_mut() {
                    Some(parent) => append(&mut parent.bytes, closed.section, &closed.bytes),
                    None => return Ok(closed.bytes),
                }
            }
            // The code section comes as a whole here, and then body by body.
            Payload::CodeSectionStart { range, .. } => {
                if let Some(current) = open.last_mut() {
                    append(
                        &mut current.bytes,
                        SectionId::Code.into(),
                        &component[range],
                    );
                }
            }
            other => {
                if let (Some(current), Some((id, range))) = (open.last_mut(), other.as_section()) {
                    append(&mut current.bytes, id, &component[range]);
                }
            }
        }
    }
    Ok(component.to_vec())
}

fn append(bytes: &mut Vec<u8>, id: u8, data: &[u8]) {
    RawSection { id, data }.append_to(bytes);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn custom_sections_go_at_every_level_and_the_rest_stays() {
        let parse = |custom: &str| {
            let text = format!(
                r#"(component {custom}
                    (core module $m {custom}
                        (memory (export "m") 1) (data (i32.const 8) "abc")
                        (func (export "f") (result i32) (i32.const 7)))
                    (component (core module {custom} (func)) {custom})
                    (core instance $i (instantiate $m))
                    (func (export "f") (result u32) (canon lift (core func $i "f"))))"#
            );
            wat::parse_str(text).unwrap()
        };
        let dressed = strip_component(&parse(r#"(@custom "x" "secret words")"#)).unwrap();
        // Only names that the text format adds by itself differ from here on.
        let plain = strip_component(&parse("")).unwrap();
        assert_eq!(dressed, plain);
        assert_eq!(strip_component(&plain).unwrap(), plain);
        wasmparser::Validator::new().validate_all(&plain).unwrap();
        let customs = Parser::new(0)
            .parse_all(&plain)
            .filter(|payload| matches!(payload, Ok(Payload::CustomSection(_))))
            .count();
        assert_eq!(customs, 0);
    }
}

//! The lexer against `java.util.Properties` of OpenJDK 17: what it made of each text is in data/java-properties.json.
//!
//! Keys and values there are trimmed, as Flume does, and half surrogate pairs are U+FFFD. Texts that are UTF-8 were read as such, the
//! others (`hex`) as ISO-8859-1.

use fchannel_agent::config::{
    ConfFile,
    properties::{Fault, lex},
};
use serde_json::Value;

fn bytes_of(case: &Value) -> Vec<u8> {
    case["text"].as_str().map_or_else(
        || {
            let hex = case["hex"].as_str().expect("text or hex");
            (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
                .collect()
        },
        |text| text.as_bytes().to_vec(),
    )
}

#[test]
fn the_lexer_agrees_with_java() {
    let cases: Value = serde_json::from_str(include_str!("data/java-properties.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 500);
    for case in cases {
        let lexed = lex(&ConfFile::decode("x.properties", &bytes_of(case)));
        let is_malformed = lexed.faults.iter().any(|(fault, _)| *fault == Fault::MalformedEscape);
        assert_eq!(is_malformed, case.get("malformed").is_some(), "{case}");
        if is_malformed {
            continue;
        }
        let entries: Vec<_> = lexed
            .entries
            .iter()
            .map(|entry| serde_json::json!([entry.key.as_str(), entry.value.as_str()]))
            .collect();
        assert_eq!(Value::from(entries), case["entries"], "{case}");
    }
}

//! `fchannel explain`: what the code of a finding means.

use super::{Exit, output};
use crate::{
    config::printable,
    findings::{CLASSES, EXPLANATIONS, Explanation, find},
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// The arguments of `fchannel explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A code, like FC2101; without it, all codes are listed
    code: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// The page docs/FINDINGS.md
    Markdown,
    /// For programs
    Json,
}

pub(super) fn run(args: &ExplainArgs) -> Exit {
    let Some(code) = &args.code else { return output::finish(&all(args.output), Exit::Done) };
    let Some(entry) = find(code) else {
        output::complain(&format!(
            "there is no code {}: `fchannel explain` lists all",
            printable(code)
        ));
        return Exit::Usage;
    };
    let text = match args.output {
        Form::Text => page(entry),
        Form::Markdown => section(entry),
        Form::Json => format!("{:#}\n", json_row(entry)),
    };
    output::finish(&text, Exit::Done)
}

fn parts(entry: &Explanation) -> [(&'static str, &'static str); 4] {
    [
        ("means", entry.means),
        ("at stake", entry.stake),
        ("do", entry.what_to_do),
        ("do not", entry.what_not_to_do),
    ]
}

fn page(entry: &Explanation) -> String {
    let lines = parts(entry).map(|(label, text)| format!("  {label:<9} {text}\n"));
    format!("{}  {}\n\n{}", entry.code, entry.title, lines.concat())
}

fn all(form: Form) -> String {
    match form {
        Form::Text => {
            EXPLANATIONS.iter().map(|entry| format!("{}  {}\n", entry.code, entry.title)).collect()
        }
        Form::Json => {
            let rows: Vec<Value> = EXPLANATIONS.iter().map(json_row).collect();
            format!("{:#}\n", json!({ "schema": "fchannel.explanations/1", "rows": rows }))
        }
        Form::Markdown => markdown(),
    }
}

fn json_row(entry: &Explanation) -> Value {
    json!({
        "code": entry.code,
        "title": entry.title,
        "means": entry.means,
        "stake": entry.stake,
        "do": entry.what_to_do,
        "do_not": entry.what_not_to_do,
    })
}

fn markdown() -> String {
    let mut out = "# Findings\n\n\
        What `fchannel explain CODE` says, for every code that `check`, `inspect`, `repair` and an agent's start print.\n\
        Printed by `fchannel explain -o markdown`. What to do about damage, step by step, is in [REPAIR.md](REPAIR.md).\n"
        .to_owned();
    for (class, title) in CLASSES {
        out.push_str(&format!("\n## {title}\n"));
        for entry in EXPLANATIONS.iter().filter(|entry| entry.code.starts_with(class)) {
            out.push('\n');
            out.push_str(&section(entry));
        }
    }
    out
}

fn section(entry: &Explanation) -> String {
    let lines = parts(entry).map(|(label, text)| {
        let mut letters = label.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase()).unwrap_or_default();
        format!("- **{first}{}**: {text}\n", letters.as_str())
    });
    format!("### {}: {}\n\n{}", entry.code, entry.title, lines.concat())
}

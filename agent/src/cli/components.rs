//! `fchannel components`: the registry as a table, JSON, or Markdown. docs/CONFIG.md is the latter.

use super::{Exit, output};
use crate::{
    component::{Entry, Key, KeyKind},
    config::{flume, suggest::nearest},
    registry::{Kind, Registry},
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// The contract of `-o json`.
const SCHEMA: &str = "fchannel.components/1";

/// The arguments of `fchannel components`.
#[derive(Debug, Args)]
pub struct ComponentsArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All components, a line each
    List,
    /// One component with all its properties
    Show {
        /// Alias or Java class, as in a configuration file
        #[arg(value_name = "TYPE")]
        type_name: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

type Row = (Kind, &'static Entry);

pub(super) fn run(args: &ComponentsArgs, registry: &Registry) -> Exit {
    let (rows, is_detailed): (Vec<Row>, bool) = match &args.what {
        None | Some(What::List) => (registry.iter().collect(), false),
        Some(What::Show { type_name }) => {
            let found = Kind::ALL
                .into_iter()
                .filter_map(|kind| Some((kind, registry.find(kind, type_name)?)));
            (found.collect(), true)
        }
    };
    if let Some(What::Show { type_name }) = &args.what
        && rows.is_empty()
    {
        output::complain(&not_found(type_name, registry));
        return Exit::Failed;
    }
    let text = match args.output {
        Format::Json => format!(
            "{:#}\n",
            json!({ "schema": SCHEMA, "components": rows.iter().map(json_row).collect::<Vec<_>>() })
        ),
        Format::Markdown => rows.iter().map(markdown).collect::<Vec<_>>().join("\n"),
        Format::Table if is_detailed => rows.iter().map(details).collect::<Vec<_>>().join("\n"),
        Format::Table => table(&rows),
    };
    output::finish(&text, Exit::Done)
}

fn not_found(type_name: &str, registry: &Registry) -> String {
    let known = Kind::ALL.into_iter().find_map(|kind| flume::find(kind, type_name));
    if let Some(known) = known {
        return format!("Flume's `{type_name}` {} is not available in this build", known.kind);
    }
    let aliases: Vec<&str> =
        registry.iter().filter_map(|(_, entry)| entry.names.first().copied()).collect();
    let meant = nearest(type_name, aliases).map(|name| format!("; did you mean `{name}`?"));
    format!("there is no component type `{type_name}`{}", meant.unwrap_or_default())
}

fn alias(entry: &Entry) -> &'static str {
    entry.names.first().copied().unwrap_or_default()
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|(_, entry)| alias(entry).len()).max().unwrap_or(0).max(4);
    let line = |kind: &str, name: &str, doc: &str| format!("{kind:<12}{name:<width$}  {doc}\n");
    let lines = rows.iter().map(|(kind, entry)| line(kind.as_str(), alias(entry), entry.doc));
    format!("{}{}", line("KIND", "TYPE", "MEANING"), lines.collect::<String>())
}

fn details((kind, entry): &Row) -> String {
    let mut out = format!("{} {kind}: {}\n", alias(entry), entry.doc);
    for name in entry.names.iter().skip(1) {
        out.push_str(&format!("  also called {name}\n"));
    }
    for key in entry.keys {
        out.push_str(&format!(
            "\n  {}  ({}{})\n      {}\n",
            key.pattern,
            values(key.kind),
            presence(key),
            meaning(key)
        ));
    }
    out
}

fn markdown((kind, entry): &Row) -> String {
    let mut out = format!("### {} {kind}\n\n{}\n", alias(entry), entry.doc);
    if entry.keys.is_empty() {
        return out;
    }
    out.push_str("\n| Property | Values | Default | Meaning |\n|---|---|---|---|\n");
    for key in entry.keys {
        let default = match key.default {
            _ if key.required => "**required**".to_owned(),
            Some(default) => format!("`{}`", cell(default)),
            None => "\u{2013}".to_owned(),
        };
        let (pattern, values, doc) =
            (cell(key.pattern), cell(&values(key.kind)), cell(&meaning(key)));
        out.push_str(&format!("| `{pattern}` | {values} | {default} | {doc} |\n"));
    }
    out
}

/// Text in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The sentence of a row, and that it does nothing if it does nothing.
fn meaning(key: &Key) -> String {
    match key.ignored {
        Some(why) => format!("{} Accepted without effect: {why}.", key.doc),
        None => key.doc.to_owned(),
    }
}

fn json_row((kind, entry): &Row) -> Value {
    let keys: Vec<Value> = entry.keys.iter().map(json_key).collect();
    json!({ "kind": kind.as_str(), "names": entry.names, "doc": entry.doc, "properties": keys })
}

fn json_key(key: &Key) -> Value {
    json!({
        "pattern": key.pattern,
        "values": values(key.kind),
        "default": key.default,
        "required": key.required,
        "secret": key.secret,
        "doc": key.doc,
        "no_effect": key.ignored,
    })
}

fn presence(key: &Key) -> String {
    let secret = if key.secret { ", secret" } else { "" };
    match key.default {
        _ if key.required => format!(", required{secret}"),
        Some(default) => format!(", default {default}{secret}"),
        None => secret.to_owned(),
    }
}

/// What values there are, in words.
fn values(kind: KeyKind) -> String {
    match kind {
        KeyKind::Text => "text".to_owned(),
        KeyKind::Flag => "`true` or `false`".to_owned(),
        KeyKind::Whole { min, max, .. } if max >= i64::from(i32::MAX) => {
            format!("whole number, at least {min}")
        }
        KeyKind::Whole { min, max, .. } => format!("whole number, {min} to {max}"),
        KeyKind::Choice(choices) => {
            choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
        }
        KeyKind::Names => "names separated by blanks".to_owned(),
        KeyKind::Paths => "path, or paths separated by commas".to_owned(),
        KeyKind::Regex => "regular expression".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing;

    fn row(type_name: &str) -> Row {
        let registry = testing::registry();
        (Kind::Source, registry.find(Kind::Source, type_name).unwrap())
    }

    #[test]
    fn a_component_is_shown_with_every_property() {
        assert_eq!(
            details(&row("seq")),
            "seq source: Numbers.

  batchSize  (whole number, at least 1, default 1)
      Events in a batch.

  totalEvents  (whole number, at least 1)
      How many.
"
        );
        assert!(
            details(&row("netcat")).contains("\n  port  (whole number, 0 to 65535, required)\n")
        );
        assert!(details(&row("netcat")).contains("\n  pin  (text, secret)\n"));
    }

    #[test]
    fn markdown_is_a_table() {
        assert_eq!(
            markdown(&row("seq")),
            "### seq source

Numbers.

| Property | Values | Default | Meaning |
|---|---|---|---|
| `batchSize` | whole number, at least 1 | `1` | Events in a batch. |
| `totalEvents` | whole number, at least 1 | \u{2013} | How many. |
"
        );
    }

    #[test]
    fn the_list_has_a_line_for_each_component() {
        let rows: Vec<Row> = testing::registry().iter().collect();
        let text = table(&rows);
        assert_eq!(text.lines().count(), rows.len() + 1);
        assert!(
            text.starts_with(
                "KIND        TYPE          MEANING\nsource      seq           Numbers.\n"
            ),
            "{text}"
        );
    }
}

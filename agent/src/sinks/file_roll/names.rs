//! The names of rolled files, as Flume's two path managers make them.

use crate::component::{Problem, Settings};
use jiff::{Timestamp, Zoned};

/// Makes one name after the other.
pub(super) struct Names {
    prefix: String,
    extension: String,
    kind: Kind,
    /// The number of the name made last.
    number: u64,
}

enum Kind {
    /// `<millis of the start>-<n>`.
    Default { start_ms: i64 },
    /// `<local time of the roll>-<n>`, n anew for each second.
    RollTime { second: String },
}

impl Names {
    pub(super) fn new(settings: &Settings) -> Result<Self, Problem> {
        let kind = match settings
            .text("sink.pathManager")
            .unwrap_or_default()
            .to_ascii_lowercase()
            .trim_end_matches("$builder")
        {
            "default" | "org.apache.flume.formatter.output.defaultpathmanager" => {
                Kind::Default { start_ms: Timestamp::now().as_millisecond() }
            }
            "rolltime" | "org.apache.flume.formatter.output.rolltimepathmanager" => {
                Kind::RollTime { second: String::new() }
            }
            _ => return Err(Problem::new("sink.pathManager", "expected `DEFAULT` or `ROLLTIME`")),
        };
        let text = |key| settings.text(key).unwrap_or_default().to_owned();
        let extension = match text("sink.pathManager.extension") {
            extension if extension.is_empty() => extension,
            extension => format!(".{extension}"),
        };
        Ok(Self { prefix: text("sink.pathManager.prefix"), extension, kind, number: 0 })
    }

    pub(super) fn next(&mut self) -> String {
        self.next_at(|| Zoned::now().strftime("%Y%m%d%H%M%S").to_string())
    }

    fn next_at(&mut self, now: impl Fn() -> String) -> String {
        let middle = match &mut self.kind {
            Kind::Default { start_ms } => start_ms.to_string(),
            Kind::RollTime { second } => {
                let now = now();
                if *second != now {
                    second.clone_from(&now);
                    self.number = 0;
                }
                now
            }
        };
        self.number += 1;
        format!("{}{middle}-{}{}", self.prefix, self.number, self.extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sinks::file_roll::ENTRY, testing::settings};

    fn names(keys: &[(&str, &str)]) -> Names {
        Names::new(&settings(&ENTRY, keys)).unwrap()
    }

    #[test]
    fn test_default_path_manager() {
        let mut names =
            names(&[("sink.pathManager.prefix", "test"), ("sink.pathManager.extension", "txt")]);
        let Kind::Default { start_ms } = names.kind else { panic!() };
        assert_eq!(
            [names.next(), names.next()],
            [format!("test{start_ms}-1.txt"), format!("test{start_ms}-2.txt")]
        );
    }

    #[test]
    fn test_roll_time_path_manager() {
        let mut names = names(&[("sink.pathManager", "RollTime")]);
        let mut at = |second: &str| names.next_at(|| second.to_owned());
        assert_eq!(
            [at("20260102030405"), at("20260102030405"), at("20260102030406")],
            ["20260102030405-1", "20260102030405-2", "20260102030406-1"]
        );
        assert_eq!(names.next().len(), "20260102030405-1".len());
    }

    #[test]
    fn class_names_are_known_and_others_refused() {
        names(&[(
            "sink.pathManager",
            "org.apache.flume.formatter.output.RollTimePathManager$Builder",
        )]);
        assert!(Names::new(&settings(&ENTRY, &[("sink.pathManager", "daily")])).is_err());
    }
}

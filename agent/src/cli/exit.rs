//! The exit codes of all verbs, as data: what `fchannel help exit-codes` prints is what the code means. Only what a verb returns is here;
//! 7 (the agent cannot be reached) is kept for verbs to come.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, clean, equal.
    Done,
    /// The operation failed.
    Failed,
    /// Wrong use of the command line.
    Usage,
    /// Something was found that was looked for.
    Findings,
    /// Finished, but some events were not carried over.
    Partial,
    /// The channel is in use.
    Locked,
    /// Not a channel of this build.
    NotAChannel,
    /// Waited in vain.
    TimedOut,
    /// The configuration is invalid.
    Config,
}

/// Every code with its number and meaning.
pub const EXIT_CODES: &[(Exit, u8, &str)] = &[
    (Exit::Done, 0, "done; nothing wrong was found"),
    (Exit::Failed, 1, "the operation failed: a file cannot be read, a component does not start"),
    (Exit::Usage, 2, "wrong use of the command line"),
    (Exit::Findings, 3, "findings: damage, differences, or warnings with --deny-warnings"),
    (Exit::Partial, 4, "finished, but some events were not carried over"),
    (Exit::Locked, 5, "the channel is locked by a live process"),
    (Exit::NotAChannel, 6, "not a channel, or of a format newer than this build"),
    (Exit::TimedOut, 8, "timed out while waiting, for instance for --grace"),
    (Exit::Config, 78, "the configuration is invalid: restarting will not help"),
];

/// Ends by a signal are the shell's numbers.
const SIGNALS: &str = "130, 143  interrupted or terminated by a user";

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        EXIT_CODES.iter().find(|(exit, ..)| *exit == self).map_or(1, |(_, code, _)| *code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table as text.
#[must_use]
pub(super) fn table() -> String {
    let rows = EXIT_CODES.iter().map(|(_, code, meaning)| format!("{code:>8}  {meaning}\n"));
    format!("{}{SIGNALS}\n", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_a_number_of_its_own() {
        let mut codes: Vec<_> = EXIT_CODES.iter().map(|(exit, ..)| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 8, 78]);
        assert!(table().contains("      78  the configuration is invalid"));
    }
}

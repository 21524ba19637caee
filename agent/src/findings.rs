//! What every finding means: the one table behind `fchannel explain` and docs/FINDINGS.md.

/// A code, for somebody who sees it for the first time at 3 a.m.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explanation {
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// What was seen.
    pub(crate) means: &'static str,
    /// What is at stake.
    pub(crate) stake: &'static str,
    pub(crate) what_to_do: &'static str,
    pub(crate) what_not_to_do: &'static str,
}

/// Classes of codes: what their first digits say.
pub(crate) const CLASSES: &[(&str, &str)] = &[
    ("FC10", "The conf, line by line"),
    ("FC11", "The conf, as a whole"),
    ("FC12", "The host"),
    ("FC13", "What this build has"),
    ("FC20", "Files of a channel"),
    ("FC21", "Frames of a channel"),
    ("FC23", "Transactions of a channel"),
    ("FC24", "Checkpoints of a channel"),
];

const fn entry(
    code: &'static str,
    title: &'static str,
    [means, stake, what_to_do, what_not_to_do]: [&'static str; 4],
) -> Explanation {
    Explanation { code, title, means, stake, what_to_do, what_not_to_do }
}

const COMPONENT_LEFT_OUT: &str = "The agent does not start. With --lenient the component is left out, as by Flume; its events do not flow.";
const NOT_LENIENT: &str =
    "Do not run with --lenient to make it go away: what is left out delivers nothing.";
const LOOK_AND_REPAIR: &str = "Copy the directories if there is room. `fchannel repair CHANNEL` shows what it would do, does it with \
     --apply, and can undo it.";
const NO_HAND: &str = "Do not edit, truncate or delete files of the channel by hand: what can still be read would go with them.";

/// All codes that this program prints, in their order.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    entry(
        "FC1001",
        "The text is not a .properties file",
        [
            "A `\\u` escape is malformed: Java would refuse the whole file, too.",
            "The agent does not start.",
            "Write four hexadecimal digits behind `\\u`, or double the backslash.",
            "Do not quote values: in a .properties file quotes are part of the value.",
        ],
    ),
    entry(
        "FC1002",
        "A property that the component does not know",
        [
            "The key is misspelled, or belongs to another type. Flume ignores such keys without a word.",
            "The component runs with the default of what was meant.",
            "Correct it: the message names the nearest known key. `fchannel components show TYPE` lists all.",
            "Do not ignore it because Flume did: it did nothing there either.",
        ],
    ),
    entry(
        "FC1003",
        "A property without a value",
        [
            "Nothing stands behind the `=`. Flume ignores the line, and so does this program.",
            "The default counts.",
            "Give it a value, or delete the line.",
            "Do not use it to mean an empty text: no component sees it.",
        ],
    ),
    entry(
        "FC1004",
        "A key that occurs twice",
        [
            "The last line counts, as in Java.",
            "The earlier line does nothing, and somebody may think that it does.",
            "Delete the one that is not meant.",
            "Do not rely on the order.",
        ],
    ),
    entry(
        "FC1005",
        "A name that stands twice in a list",
        [
            "A source, channel or sink is listed twice; it counts once.",
            "Perhaps another component was meant, and is not there.",
            "Delete it, or write the name that was meant.",
            "Do not list a sink twice to make it faster: use two sinks.",
        ],
    ),
    entry(
        "FC1006",
        "A key that belongs to no component",
        [
            "The key does not have the form AGENT.sources.NAME.KEY, or names no such thing.",
            "What it should set is not set.",
            "Correct the key. Lines for other programs do no harm.",
            "Do not put the settings of several agents into keys without the agent's name.",
        ],
    ),
    entry(
        "FC1007",
        "A value that the component cannot be built with",
        [
            "The value is no number, out of range, no known word, or contradicts another one.",
            COMPONENT_LEFT_OUT,
            "Correct the value: the message says what is expected.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1008",
        "A value that is replaced by the default",
        [
            "The value is out of range, and Flume takes the default in that case, so this program does, too.",
            "The component does not run with what the file says.",
            "Write a value in the range, or delete the line.",
            "Do not leave it: the next reader believes the file.",
        ],
    ),
    entry(
        "FC1009",
        "A `${...}` that stands for nothing",
        [
            "The variable of the environment, or the property, is not there where the file is read.",
            COMPONENT_LEFT_OUT,
            "Set the variable where the agent runs: a service does not see your shell's.",
            "Do not check in another environment than the agent's: use the same user and unit.",
        ],
    ),
    entry(
        "FC1010",
        "The file, or a value after substitution, is too large",
        [
            "It is larger than this program reads: probably not a conf, or a substitution that grows.",
            "The agent does not start.",
            "Name the right file.",
            "Do not put data into a conf.",
        ],
    ),
    entry(
        "FC1011",
        "A flag that is neither true nor false",
        [
            "It counts as false, as in Java: `yes`, `on` and `1` are false.",
            "The opposite of what was meant may happen.",
            "Write `true` or `false`.",
            "Do not write `1`.",
        ],
    ),
    entry(
        "FC1012",
        "Properties of a component that no list names",
        [
            "There are lines for a component that is missing in `AGENT.sources`, `.channels` or `.sinks`.",
            "The component does not run.",
            "Add its name to the list, or delete its lines.",
            "Do not take it for a comment.",
        ],
    ),
    entry(
        "FC1101",
        "The agent is not in the file",
        [
            "No key begins with the name that was given by --name.",
            "Nothing is started.",
            "Give the right name or file: the message says which agents there are.",
            "Do not start another agent of the file instead: its channels may be in use elsewhere.",
        ],
    ),
    entry(
        "FC1102",
        "A component that has no type",
        [
            "The list names it, and there is no line with its `type`.",
            COMPONENT_LEFT_OUT,
            "Add the line, or remove the name from the list.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1103",
        "A required property is missing",
        [
            "The component cannot be built without it.",
            COMPONENT_LEFT_OUT,
            "Add it: `fchannel components show TYPE` says what it means.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1104",
        "A batch is larger than the channel's transaction",
        [
            "The batch size of a source or sink passes `transactionCapacity` of its channel.",
            "In Flume such a sink fails for ever, or delivers without end. Here the file is refused.",
            "Lower the batch size, or raise `transactionCapacity`.",
            "Do not raise it without end: a transaction is held in memory.",
        ],
    ),
    entry(
        "FC1105",
        "A channel that is not in the agent's list",
        [
            "A source or sink names a channel that does not exist, or that could not be built.",
            COMPONENT_LEFT_OUT,
            "Correct the name; if the channel has a finding of its own, that one first.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1106",
        "The agent has no channel, or neither sources nor sinks",
        [
            "There is nothing that events could flow through.",
            "The agent does not start.",
            "Add the lists `AGENT.sources`, `AGENT.channels` and `AGENT.sinks`.",
            "Do not run it to see what happens.",
        ],
    ),
    entry(
        "FC1107",
        "A transaction may hold more than its channel",
        [
            "`transactionCapacity` is larger than `capacity`: such a transaction could never commit.",
            COMPONENT_LEFT_OUT,
            "Raise `capacity`, or lower `transactionCapacity`.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1108",
        "No source, no sink, or a channel that nothing uses",
        [
            "Events that come in stay, or nothing comes in.",
            "A channel without a sink fills up, and then its sources wait.",
            "Add what is missing, unless it is meant, for draining a channel for instance.",
            "Do not leave a channel without a sink unwatched.",
        ],
    ),
    entry(
        "FC1112",
        "Two channels keep their files in one directory",
        [
            "Their `checkpointDir` or `dataDirs` meet. The defaults do, as soon as there are two file channels.",
            "Only one of them could open; no file would be mixed.",
            "Give each channel directories of its own.",
            "Do not move files of a channel while an agent runs.",
        ],
    ),
    entry(
        "FC1113",
        "Two sources keep their positions in one file",
        [
            "Each would write over what the other one has written.",
            "After a restart lines would come twice, or not at all.",
            "Give each source a position file of its own.",
            "Do not share one to merge sources: use one source with two groups.",
        ],
    ),
    entry(
        "FC1114",
        "A source without a channel",
        [
            "Its events would have nowhere to go.",
            COMPONENT_LEFT_OUT,
            "Add the line AGENT.sources.NAME.channels.",
            "Do not write `channel`: a source has `channels`.",
        ],
    ),
    entry(
        "FC1115",
        "A sink without a channel, or with several",
        [
            "A sink takes from exactly one channel.",
            COMPONENT_LEFT_OUT,
            "Write AGENT.sinks.NAME.channel with one name; for several channels use several sinks.",
            "Do not write `channels`: a sink has `channel`.",
        ],
    ),
    entry(
        "FC1201",
        "The host does not have what the conf names",
        [
            "A directory, file or program is not there. The agent starts all the same, and waits for it.",
            "Nothing flows through this component until it is there.",
            "Make it, mount it, or correct the path.",
            "Do not make an empty directory in place of a mount: what is written there is hidden by the mount.",
        ],
    ),
    entry(
        "FC1310",
        "A type that this build does not have",
        [
            "Flume knows it, this program does not, or not yet.",
            COMPONENT_LEFT_OUT,
            "`fchannel components` lists what there is. Keep what needs this type in Flume.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1320",
        "A Java class that is not one of Flume's",
        [
            "The type is a class of your own, or of a plugin: there is no JVM here to load it.",
            COMPONENT_LEFT_OUT,
            "Use a type of this build, or keep this agent in Flume.",
            NOT_LENIENT,
        ],
    ),
    entry(
        "FC1331",
        "A property that is accepted and does nothing here",
        [
            "In Flume it has an effect that this program does not need, or does not have: the message says which.",
            "Usually nothing. With encryption: events lie on disk in clear text.",
            "Read the reason; delete the line if you agree.",
            "Do not take encryption for granted because the file still has it.",
        ],
    ),
    entry(
        "FC2001",
        "A file of the channel cannot be read",
        [
            "The header of a segment or manifest is damaged, or is not that of its name.",
            "The events of that segment, as far as its frames do not tell by themselves where they belong.",
            LOOK_AND_REPAIR,
            NO_HAND,
        ],
    ),
    entry(
        "FC2002",
        "A manifest cannot be read",
        [
            "The file that says whose directory this is, is damaged, or of another log.",
            "No event; but no agent opens the channel, since the directory may be a stranger's.",
            "Are the directories those of one channel, in their old order? Restore the manifest from a backup of the same directory.",
            "Do not copy the manifest of another directory over it: each says which one it is.",
        ],
    ),
    entry(
        "FC2003",
        "A directory of the channel is absent, or empty where it was not",
        [
            "A disk is not mounted, a path was changed, a directory was removed, or its segments were: checkpoints or spares are left.",
            "All events in it, for as long as it is not there.",
            "Mount the disk, or name the directories as they were; look again. Is no segment left, for good? Move the rest elsewhere.",
            "Do not start with an empty directory in its place, and do not repair: a disk that comes back is the cure.",
        ],
    ),
    entry(
        "FC2004",
        "A file that a crash left half-made",
        [
            "A process was killed while it made a segment, checkpoint or manifest.",
            "Nothing: the file was never part of the channel.",
            "Nothing: the next start removes it.",
            "Do not rename it to what it should have become.",
        ],
    ),
    entry(
        "FC2005",
        "A record of the quarantine cannot be read",
        [
            "A file ID.damage does not hold what was written into it.",
            "What it says about a damage. The raw bytes in ID.bytes are another file.",
            "Keep both files; look into ID.bytes with `xxd` if its events matter. Move the record away to end the warning.",
            "Do not edit a record: its checksum would be wrong.",
        ],
    ),
    entry(
        "FC2010",
        "A segment is missing",
        [
            "The numbers of segments are dense, and one is not there: deleted, or on a disk that is not mounted.",
            "All events in it that were not taken, and takes in it: what they took comes again.",
            "Look for it first: in the other directories, in a backup, in the trash. Then `fchannel repair CHANNEL`.",
            "Do not make an empty file with its name.",
        ],
    ),
    entry(
        "FC2101",
        "A frame whose body does not fit its checksum",
        [
            "Bytes of a transaction have changed on disk: a bad sector, faulty memory, a hand that edited the file.",
            "The events of this transaction. Most of them can still be read; which one is wrong nobody can say.",
            LOOK_AND_REPAIR,
            NO_HAND,
        ],
    ),
    entry(
        "FC2102",
        "A put frame that is sound and makes no sense",
        [
            "Its checksum is right, and its lengths lead outside: a bug of ours, or bytes made on purpose.",
            "The events of this transaction.",
            "Keep a copy of the directories and report it.",
            NO_HAND,
        ],
    ),
    entry(
        "FC2103",
        "Frames that cannot be read",
        [
            "Where a frame must be there is none, and something later vouches that it was durable.",
            "The events of the missing frames; if takes were among them, what they took comes again.",
            LOOK_AND_REPAIR,
            NO_HAND,
        ],
    ),
    entry(
        "FC2104",
        "Sound frames in an impossible order",
        [
            "Frames of this segment stand where they cannot be: we know no way to it.",
            "What lies between. No agent opens the channel by itself.",
            "Keep a copy of the directories and report it.",
            "Do not repair before there is a copy.",
        ],
    ),
    entry(
        "FC2105",
        "A torn end",
        [
            "The last group of commits was being written when the power went, or the process was killed.",
            "Nothing: none of it was acknowledged.",
            "Nothing: the next start declares it void.",
            "Do not cut the file.",
        ],
    ),
    entry(
        "FC2106",
        "Void frames",
        [
            "An earlier restart wrote them anew behind it, or dropped what was never acknowledged.",
            "Nothing.",
            "Nothing: they go with their segment.",
            "Do not count them as events.",
        ],
    ),
    entry(
        "FC2301",
        "A frame contradicts the state before it",
        [
            "A take names events that are not owed, or a put numbers that were given already. Its checksum is right.",
            "No agent opens a log that contradicts itself: which events are owed is not certain.",
            "Keep a copy of the directories and report it. Are the files of one channel, from one backup?",
            "Do not mix segments and checkpoints of different times.",
        ],
    ),
    entry(
        "FC2401",
        "A checkpoint cannot be used",
        [
            "The file is cut, damaged, or of another log.",
            "Nothing: an older checkpoint or the log itself serves, and a restart reads a little more.",
            "Nothing; `fchannel repair CHANNEL --apply` renames it, so that it is told no more. Does the disk have errors?",
            "Do not delete the other checkpoints.",
        ],
    ),
    entry(
        "FC2402",
        "The newest checkpoint is behind the log",
        [
            "Frames were written since. After a kill or a crash that is as it should be.",
            "Nothing: a restart reads them.",
            "Nothing.",
            "Do not delete the checkpoint.",
        ],
    ),
    entry(
        "FC2403",
        "A checkpoint, or an image, disagrees with the log",
        [
            "Replaying the log up to there gives another state than it says, and both are sound by their checksums.",
            "A restart trusts the checkpoint: events may come again, or not at all.",
            "Keep a copy of the directories and report it. Moving the newest checkpoint away makes a restart read the log instead.",
            "Do not start the agent before there is a copy.",
        ],
    ),
    entry(
        "FC2404",
        "The image at the head of a segment is damaged",
        [
            "It is a checkpoint inside the log, for when all others are lost.",
            "Nothing, as long as a checkpoint or an older image serves.",
            LOOK_AND_REPAIR,
            NO_HAND,
        ],
    ),
    entry(
        "FC2407",
        "A segment is missing that a checkpoint, or an owed event, needs",
        [
            "It was there: something that is sound leads into it.",
            "The owed events in it, and those in the missing segments around it.",
            "Look for it first: in the other directories, in a backup, in the trash. Then `fchannel repair CHANNEL`.",
            "Do not delete the checkpoint that tells of it.",
        ],
    ),
];

/// The entry of `code`, in either case.
pub(crate) fn find(code: &str) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|entry| entry.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    fn codes_in(dir: &Path, found: &mut BTreeSet<String>) {
        let code = regex::Regex::new(r#""(FC\d{4})""#).unwrap();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                codes_in(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("agent/src/findings.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                found.extend(code.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }

    #[test]
    fn every_code_of_the_program_is_explained_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut printed = BTreeSet::new();
        codes_in(&root.join("agent/src"), &mut printed);
        codes_in(&root.join("engine/src"), &mut printed);
        let explained: Vec<&str> = EXPLANATIONS.iter().map(|entry| entry.code).collect();
        assert_eq!(explained, printed.iter().map(String::as_str).collect::<Vec<_>>());
        for entry in EXPLANATIONS {
            assert!(CLASSES.iter().any(|(class, _)| entry.code.starts_with(class)));
        }
    }

    #[test]
    fn a_code_is_found_in_either_case() {
        assert_eq!(find("fc2101").map(|entry| entry.code), Some("FC2101"));
        assert!(find("FC9999").is_none());
    }
}

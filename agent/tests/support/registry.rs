//! Components for tests of conf validation: tables as the real ones have them, builders that refuse.

use fchannel_agent::{
    component::{Build, ComponentError, Entry, Key, KeyKind, Placement},
    registry::Registry,
};

fn refuse<T, E: From<ComponentError>>(name: &str) -> Result<T, E> {
    Err(ComponentError(format!("{name} is for tests of conf validation only")).into())
}

macro_rules! make {
    () => {
        |settings, _| refuse(settings.name())
    };
}

const fn whole(min: i64, max: i64, replaced: bool) -> KeyKind {
    KeyKind::Whole { min, max, replaced }
}

const INT: i64 = 2_147_483_647;

static SEQ: Entry = Entry {
    names: &["seq"],
    doc: "Numbers.",
    keys: &[
        Key::new("batchSize", whole(1, INT, false), "Events in a batch.").or("1"),
        Key::new("totalEvents", whole(1, i64::MAX, false), "How many."),
    ],
    batch_key: Some("batchSize"),
    verify: None,
    build: Build::Source(Placement::Shared, make!()),
};

static TAILDIR: Entry = Entry {
    names: &["taildir", "org.apache.flume.source.taildir.TaildirSource"],
    doc: "Follows files.",
    keys: &[
        Key::new("filegroups", KeyKind::Names, "Names of the groups.").required(),
        Key::new("filegroups.*", KeyKind::Paths, "A path whose last part is a regular expression.")
            .required(),
        Key::new("headers.*.**", KeyKind::Text, "A header of the group's events."),
        Key::new("positionFile", KeyKind::Paths, "Where positions are kept.")
            .or("~/.flume/taildir_position.json"),
        Key::new("batchSize", whole(1, INT, false), "Lines in a batch.").or("100"),
        Key::new("fileHeader", KeyKind::Flag, "Whether to add the path.").or("false"),
    ],
    batch_key: Some("batchSize"),
    verify: None,
    build: Build::Source(Placement::OwnThread, make!()),
};

static NETCAT: Entry = Entry {
    names: &["netcat"],
    doc: "Lines from TCP.",
    keys: &[
        Key::new("bind", KeyKind::Text, "Address to listen at.").required(),
        Key::new("port", whole(0, 65535, false), "Port to listen at.").required(),
        Key::new("max-line-length", whole(1, INT, false), "Characters.").or("512"),
        Key::new("ack-every-event", KeyKind::Flag, "Whether to answer `OK`.").or("true"),
        Key::new("keystore-password", KeyKind::Text, "Password.").secret(),
        Key::new("pin", KeyKind::Text, "A secret whose key does not look like one.").secret(),
    ],
    batch_key: None,
    verify: None,
    build: Build::Source(Placement::Shared, make!()),
};

static MEMORY: Entry = Entry {
    names: &["memory"],
    doc: "Keeps events in memory.",
    keys: &[
        Key::new("capacity", whole(1, INT, true), "Events.").or("100"),
        Key::new("transactionCapacity", whole(1, INT, true), "Events in a transaction.").or("100"),
        Key::new("keep-alive", whole(0, INT, true), "Seconds to wait for room.").or("3"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Channel(make!()),
};

static FILE: Entry = Entry {
    names: &["file"],
    doc: "Keeps events in files.",
    keys: &[
        Key::new("checkpointDir", KeyKind::Paths, "Checkpoints.")
            .or("~/.flume/file-channel/checkpoint"),
        Key::new("dataDirs", KeyKind::Paths, "Data.").or("~/.flume/file-channel/data"),
        Key::new("capacity", whole(1, INT, true), "Events.").or("1000000"),
        Key::new("transactionCapacity", whole(1, INT, true), "Events in a transaction.")
            .or("10000"),
        Key::new("checkpointInterval", whole(1, INT, true), "Milliseconds.").or("30000"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Channel(make!()),
};

static LOGGER: Entry = Entry {
    names: &["logger"],
    doc: "Logs events.",
    keys: &[Key::new("maxBytesToLog", whole(0, INT, false), "Bytes.").or("16")],
    batch_key: None,
    verify: None,
    build: Build::Sink(make!()),
};

static NULL: Entry = Entry {
    names: &["null"],
    doc: "Drops events.",
    keys: &[
        Key::new("batchSize", whole(1, INT, false), "Events in a batch.").or("100"),
        Key::new("logEveryNEvents", whole(1, INT, false), "Events.").or("10000"),
    ],
    batch_key: Some("batchSize"),
    verify: None,
    build: Build::Sink(make!()),
};

static FILE_ROLL: Entry = Entry {
    names: &["file_roll"],
    doc: "Writes files.",
    keys: &[
        Key::new("sink.directory", KeyKind::Paths, "An existing directory.").required(),
        Key::new("sink.rollInterval", whole(0, INT, false), "Seconds; 0: never.").or("30"),
        Key::new("sink.batchSize", whole(1, INT, false), "Events in a batch.").or("100"),
        Key::new("sink.pathManager", KeyKind::Choice(&["DEFAULT", "ROLLTIME"]), "File names.")
            .or("DEFAULT"),
        Key::new("sink.serializer", KeyKind::Text, "Serializer.").or("TEXT"),
        Key::new("sink.serializer.**", KeyKind::Text, "The serializer's."),
    ],
    batch_key: Some("sink.batchSize"),
    verify: None,
    build: Build::Sink(make!()),
};

static TIMESTAMP: Entry = Entry {
    names: &["timestamp"],
    doc: "Adds the time.",
    keys: &[
        Key::new("headerName", KeyKind::Text, "Header.").or("timestamp"),
        Key::new("preserveExisting", KeyKind::Flag, "Whether to keep a header that is there.")
            .or("false"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Interceptor(make!()),
};

static STATIC: Entry = Entry {
    names: &["static"],
    doc: "Adds a header.",
    keys: &[
        Key::new("key", KeyKind::Text, "Header.").or("key"),
        Key::new("value", KeyKind::Text, "Its value.").or("value"),
    ],
    batch_key: None,
    verify: None,
    build: Build::Interceptor(make!()),
};

static REGEX_FILTER: Entry = Entry {
    names: &["regex_filter"],
    doc: "Keeps what matches.",
    keys: &[Key::new("regex", KeyKind::Regex, "Expression.").or(".*")],
    batch_key: None,
    verify: None,
    build: Build::Interceptor(make!()),
};

static REPLICATING: Entry = Entry {
    names: &["replicating"],
    doc: "Every channel gets every event.",
    keys: &[Key::new("optional", KeyKind::Names, "Channels that may fail.")],
    batch_key: None,
    verify: None,
    build: Build::Selector(make!()),
};

static MULTIPLEXING: Entry = Entry {
    names: &["multiplexing"],
    doc: "A header decides.",
    keys: &[
        Key::new("header", KeyKind::Text, "Header.").or("flume.selector.header"),
        Key::new("mapping.**", KeyKind::Names, "Channels of a value."),
        Key::new("default", KeyKind::Names, "Channels of other values."),
    ],
    batch_key: None,
    verify: None,
    build: Build::Selector(make!()),
};

static TEXT: Entry = Entry {
    names: &["text"],
    doc: "The body.",
    keys: &[Key::new("appendNewline", KeyKind::Flag, "Whether to end the line.").or("true")],
    batch_key: None,
    verify: None,
    build: Build::Serializer(make!()),
};

static REGISTRY: Registry = Registry {
    sources: &[&SEQ, &TAILDIR, &NETCAT],
    channels: &[&MEMORY, &FILE],
    sinks: &[&LOGGER, &NULL, &FILE_ROLL],
    interceptors: &[&TIMESTAMP, &STATIC, &REGEX_FILTER],
    selectors: &[&REPLICATING, &MULTIPLEXING],
    serializers: &[&TEXT],
};

/// A registry with one or more components of each kind.
#[must_use]
pub(crate) fn registry() -> Registry {
    REGISTRY
}

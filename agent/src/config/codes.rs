//! The codes of what can be wrong with a conf. A code never changes its meaning and is never used again for another.

/// The text is not a `.properties` file: a malformed escape.
pub const SYNTAX: &str = "FC1001";
/// A property that the component does not know.
pub const UNKNOWN_PROPERTY: &str = "FC1002";
/// A property without a value: Flume ignores it.
pub const EMPTY_VALUE: &str = "FC1003";
/// A key that occurs twice: the last one counts.
pub const DUPLICATE_KEY: &str = "FC1004";
/// A name that stands twice in a list.
pub const DUPLICATE_NAME: &str = "FC1005";
/// A key that belongs to no component of any agent.
pub const MALFORMED_KEY: &str = "FC1006";
/// A value that the component cannot be built with.
pub const INVALID_VALUE: &str = "FC1007";
/// A value that is replaced by the default.
pub const REPLACED_VALUE: &str = "FC1008";
/// A `${...}` that stands for nothing.
pub const UNRESOLVED: &str = "FC1009";
/// The file, or a value after substitution, is larger than this program reads.
pub const TOO_LARGE: &str = "FC1010";
/// A flag that is neither `true` nor `false`: it counts as false.
pub const ODD_FLAG: &str = "FC1011";
/// Properties of a component that no list names.
pub const NOT_LISTED: &str = "FC1012";

/// The agent is not in the file.
pub const NO_SUCH_AGENT: &str = "FC1101";
/// A component that has no `type`.
pub const NO_TYPE: &str = "FC1102";
/// A required property is missing.
pub const MISSING_PROPERTY: &str = "FC1103";
/// A batch is larger than the channel's transaction.
pub const BATCH_TOO_LARGE: &str = "FC1104";
/// A channel that is not in the agent's list.
pub const NO_SUCH_CHANNEL: &str = "FC1105";
/// The agent has no channel, or neither sources nor sinks.
pub const EMPTY_AGENT: &str = "FC1106";
/// A transaction may hold more than its channel.
pub const TRANSACTION_TOO_LARGE: &str = "FC1107";
/// The agent has no source, or no sink, or a channel that nothing uses.
pub const UNUSED: &str = "FC1108";
/// Two channels keep their files in one directory.
pub const SHARED_DIRECTORY: &str = "FC1112";
/// Two sources keep their positions in one file.
pub const SHARED_POSITIONS: &str = "FC1113";
/// A source without a channel.
pub const SOURCE_WITHOUT_CHANNEL: &str = "FC1114";
/// A sink without a channel, or with several.
pub const SINK_WITHOUT_CHANNEL: &str = "FC1115";

/// The host does not have what the conf names: the agent starts, and waits for it.
pub const HOST_NOT_READY: &str = "FC1201";

/// A type that this build does not have.
pub const NOT_AVAILABLE: &str = "FC1310";
/// A property that is accepted and does nothing here.
pub const NO_EFFECT: &str = "FC1331";
/// A Java class that is not one of Flume's.
pub const JAVA_CLASS: &str = "FC1320";

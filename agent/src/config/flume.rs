//! The component types that Apache Flume has, so that a conf's type is told apart: ours, Flume's but not ours, somebody's Java class.

use crate::registry::Kind;

/// One of Flume's component types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownType {
    /// What it is.
    pub kind: Kind,
    /// The short name; some types have none.
    pub alias: Option<&'static str>,
    /// The Java class.
    pub class: &'static str,
}

const fn row(kind: Kind, alias: Option<&'static str>, class: &'static str) -> KnownType {
    KnownType { kind, alias, class }
}

/// The types of Flume 1.9 to 1.11.
pub static KNOWN_TYPES: &[KnownType] = &[
    row(Kind::Source, Some("avro"), "org.apache.flume.source.AvroSource"),
    row(Kind::Source, Some("thrift"), "org.apache.flume.source.ThriftSource"),
    row(Kind::Source, Some("exec"), "org.apache.flume.source.ExecSource"),
    row(Kind::Source, Some("spooldir"), "org.apache.flume.source.SpoolDirectorySource"),
    row(Kind::Source, Some("taildir"), "org.apache.flume.source.taildir.TaildirSource"),
    row(Kind::Source, Some("netcat"), "org.apache.flume.source.NetcatSource"),
    row(Kind::Source, Some("netcatudp"), "org.apache.flume.source.NetcatUdpSource"),
    row(Kind::Source, Some("seq"), "org.apache.flume.source.SequenceGeneratorSource"),
    row(Kind::Source, Some("syslogtcp"), "org.apache.flume.source.SyslogTcpSource"),
    row(
        Kind::Source,
        Some("multiport_syslogtcp"),
        "org.apache.flume.source.MultiportSyslogTCPSource",
    ),
    row(Kind::Source, Some("syslogudp"), "org.apache.flume.source.SyslogUDPSource"),
    row(Kind::Source, Some("http"), "org.apache.flume.source.http.HTTPSource"),
    row(Kind::Source, Some("jms"), "org.apache.flume.source.jms.JMSSource"),
    row(Kind::Source, None, "org.apache.flume.source.kafka.KafkaSource"),
    row(Kind::Source, None, "org.apache.flume.source.StressSource"),
    row(Kind::Source, None, "org.apache.flume.source.scribe.ScribeSource"),
    row(Kind::Source, None, "org.apache.flume.source.twitter.TwitterSource"),
    row(Kind::Source, None, "org.apache.flume.source.avroLegacy.AvroLegacySource"),
    row(Kind::Source, None, "org.apache.flume.source.thriftLegacy.ThriftLegacySource"),
    row(Kind::Channel, Some("memory"), "org.apache.flume.channel.MemoryChannel"),
    row(Kind::Channel, Some("file"), "org.apache.flume.channel.file.FileChannel"),
    row(Kind::Channel, Some("jdbc"), "org.apache.flume.channel.jdbc.JdbcChannel"),
    row(Kind::Channel, Some("spillablememory"), "org.apache.flume.channel.SpillableMemoryChannel"),
    row(Kind::Channel, None, "org.apache.flume.channel.kafka.KafkaChannel"),
    row(Kind::Channel, None, "org.apache.flume.channel.PseudoTxnMemoryChannel"),
    row(Kind::Sink, Some("null"), "org.apache.flume.sink.NullSink"),
    row(Kind::Sink, Some("logger"), "org.apache.flume.sink.LoggerSink"),
    row(Kind::Sink, Some("file_roll"), "org.apache.flume.sink.RollingFileSink"),
    row(Kind::Sink, Some("hdfs"), "org.apache.flume.sink.hdfs.HDFSEventSink"),
    row(Kind::Sink, Some("irc"), "org.apache.flume.sink.irc.IRCSink"),
    row(Kind::Sink, Some("avro"), "org.apache.flume.sink.AvroSink"),
    row(Kind::Sink, Some("thrift"), "org.apache.flume.sink.ThriftSink"),
    row(Kind::Sink, Some("elasticsearch"), "org.apache.flume.sink.elasticsearch.ElasticSearchSink"),
    row(Kind::Sink, Some("hbase"), "org.apache.flume.sink.hbase.HBaseSink"),
    row(Kind::Sink, Some("asynchbase"), "org.apache.flume.sink.hbase.AsyncHBaseSink"),
    row(Kind::Sink, Some("hbase2"), "org.apache.flume.sink.hbase2.HBase2Sink"),
    row(
        Kind::Sink,
        Some("morphline_solr"),
        "org.apache.flume.sink.solr.morphline.MorphlineSolrSink",
    ),
    row(Kind::Sink, Some("hive"), "org.apache.flume.sink.hive.HiveSink"),
    row(Kind::Sink, Some("http"), "org.apache.flume.sink.http.HttpSink"),
    row(Kind::Sink, None, "org.apache.flume.sink.kafka.KafkaSink"),
    row(Kind::Sink, None, "org.apache.flume.sink.kite.DatasetSink"),
    row(Kind::Sink, None, "org.apache.flume.sink.kudu.KuduSink"),
    row(Kind::Interceptor, Some("timestamp"), "org.apache.flume.interceptor.TimestampInterceptor"),
    row(Kind::Interceptor, Some("host"), "org.apache.flume.interceptor.HostInterceptor"),
    row(Kind::Interceptor, Some("static"), "org.apache.flume.interceptor.StaticInterceptor"),
    row(
        Kind::Interceptor,
        Some("regex_filter"),
        "org.apache.flume.interceptor.RegexFilteringInterceptor",
    ),
    row(
        Kind::Interceptor,
        Some("regex_extractor"),
        "org.apache.flume.interceptor.RegexExtractorInterceptor",
    ),
    row(
        Kind::Interceptor,
        Some("remove_header"),
        "org.apache.flume.interceptor.RemoveHeaderInterceptor",
    ),
    row(
        Kind::Interceptor,
        Some("search_replace"),
        "org.apache.flume.interceptor.SearchAndReplaceInterceptor",
    ),
    row(Kind::Interceptor, None, "org.apache.flume.sink.solr.morphline.UUIDInterceptor"),
    row(Kind::Interceptor, None, "org.apache.flume.sink.solr.morphline.MorphlineInterceptor"),
    row(Kind::Selector, Some("replicating"), "org.apache.flume.channel.ReplicatingChannelSelector"),
    row(
        Kind::Selector,
        Some("multiplexing"),
        "org.apache.flume.channel.MultiplexingChannelSelector",
    ),
    row(
        Kind::Selector,
        Some("load_balancing"),
        "org.apache.flume.channel.LoadBalancingChannelSelector",
    ),
    row(Kind::Serializer, Some("text"), "org.apache.flume.serialization.BodyTextEventSerializer"),
    row(
        Kind::Serializer,
        Some("header_and_text"),
        "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer",
    ),
    row(
        Kind::Serializer,
        Some("avro_event"),
        "org.apache.flume.serialization.FlumeEventAvroEventSerializer",
    ),
    row(Kind::Serializer, None, "org.apache.flume.sink.hdfs.AvroEventSerializer"),
];

/// Flume's type with this alias or class name, in any case, with or without `$Builder`.
#[must_use]
pub fn find(kind: Kind, type_name: &str) -> Option<&'static KnownType> {
    let name = without_builder(type_name);
    let is_name = |row: &&KnownType| {
        let is_alias = row.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name));
        row.kind == kind && (is_alias || row.class.eq_ignore_ascii_case(name))
    };
    KNOWN_TYPES.iter().find(is_name)
}

/// A class name without the `$Builder` that Flume wants behind some.
#[must_use]
pub fn without_builder(type_name: &str) -> &str {
    const BUILDER: &str = "$Builder";
    let split = type_name.len().saturating_sub(BUILDER.len());
    match (type_name.get(..split), type_name.get(split..)) {
        (Some(class), Some(tail)) if tail.eq_ignore_ascii_case(BUILDER) => class,
        _ => type_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flumes_types_are_known_by_both_names() {
        assert_eq!(
            find(Kind::Sink, "HDFS").map(|row| row.class),
            Some("org.apache.flume.sink.hdfs.HDFSEventSink")
        );
        let kafka = find(Kind::Sink, "org.apache.flume.sink.kafka.KafkaSink");
        assert_eq!(kafka.map(|row| row.alias), Some(None));
        assert_eq!(find(Kind::Source, "hdfs"), None);
        assert_eq!(without_builder("a$builder"), "a");
        assert_eq!(without_builder("ü"), "ü");
    }
}

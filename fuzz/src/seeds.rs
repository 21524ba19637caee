//! What the targets begin with: the golden files of the format, the confs of the documents, a few lines.

use crate::home;
use std::fs;

/// The bytes of a golden file of the engine: hexadecimal between an offset and a comment.
fn golden(name: &str) -> Result<Vec<u8>, String> {
    let path = home().join("../engine/tests/golden").join(name);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let hex = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
        for byte in hex {
            bytes.push(u8::from_str_radix(byte, 16).map_err(|_| format!("{name}: {line}"))?);
        }
    }
    Ok(bytes)
}

/// The blocks of a document behind ```properties.
fn confs(document: &str) -> Result<Vec<Vec<u8>>, String> {
    let path = home().join("..").join(document);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let blocks = text.split("```properties\n").skip(1);
    Ok(blocks.filter_map(|block| block.split("```").next()).map(|block| block.into()).collect())
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Bytes without a meaning, always the same: programs for the targets that read their input as one.
fn programs(count: u64, len: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|seed| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            };
            (0..len).map(|_| next()).collect()
        })
        .collect()
}

/// The seeds of a target.
///
/// # Errors
/// If a file that they are made of is missing.
pub fn seeds(target: &str) -> Result<Vec<Vec<u8>>, String> {
    let segment = golden("segment.hex")?;
    let put = golden("put.hex")?;
    let event = put.get(76..76 + 43).unwrap_or_default().to_vec();
    Ok(match target {
        "frame" => vec![
            segment.get(64..).unwrap_or_default().to_vec(),
            put,
            golden("take.hex")?,
            golden("vouch.hex")?,
        ],
        "segment_header" => vec![segment.get(..64).unwrap_or_default().to_vec()],
        "checkpoint" => vec![
            golden("checkpoint.hex")?,
            golden("checkpoint.hex")?.get(32..).unwrap_or_default().to_vec(),
            segment.get(128..).unwrap_or_default().to_vec(),
        ],
        "manifest" => vec![golden("manifest.hex")?],
        "event" => vec![event, vec![0; 4], b"\0\0\0\0body".to_vec()],
        "canary" => vec![vec![8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], vec![0; 4]],
        "quarantine_record" => texts(&[
            "fchannel damage 1\nid 3\nfound_ms 1795000000000\nverdict C\nat seg-5@4096\nnext seg-5@8192\nlsns 17..19\nevents 100..140\n\
             bytes 4096\nfile /data/a 1/seg-5\nwhat frame 17 is missing or damaged\n",
            "fchannel damage 1\nid 1\nfound_ms 0\nverdict @J\nat seg-1@64\nnext end\nlsns 0..0\nevents 0..0\nbytes 0\nfile /x\nwhat \n",
        ]),
        "conf" => {
            let mut seeds = confs("README.md")?;
            seeds.extend(texts(&[
                "a1.sources = r1\na1.channels = c1\na1.sinks = k1\na1.sources.r1.type = seq\na1.sources.r1.channels = c1\n\
                 a1.channels.c1.type = memory\na1.sinks.k1.type = logger\na1.sinks.k1.channel = c1\n",
                "! comment\\\n a = \\u0041\\t\\\n  b\r\nkey:value\nkey value\n = \n${env:HOME}/${a} = ${sys:x}${const:y}\n",
                "a1.sources=r1\na1.sources.r1.type=TAILDIR\na1.sources.r1.filegroups=f1 f2\na1.sources.r1.filegroups.f1=/var/log/[a-z]+\n\
                 a1.sources.r1.headers.f1.k=v\na1.sources.r1.positionFile=~/p.json\na1.sources.r1.interceptors=i1 i2\n\
                 a1.sources.r1.interceptors.i1.type=static\na1.sources.r1.selector.type=multiplexing\n",
                "a1.sources=s\na1.sources.s.type=syslogtcp\na1.sources.s.port=99999\na1.sources.s.clientIPHeader=ip\na1.channels=c\n\
                 a1.channels.c.type=file\na1.channels.c.dataDirs=/a,/b\na1.channels.c.capacity=10\na1.sinks=k\na1.sinks.k.type=file_roll\n",
            ]));
            seeds
        }
        "position_file" => {
            let mut seeds = texts(&[
                r#"[{"inode":2496272,"pos":12,"file":"/var/log/a.log"},{"inode":7,"pos":0,"file":"/b\u003d\u003cc\\é\""}]"#,
                "[]",
                "",
            ]);
            seeds.push([&300_u64.to_be_bytes()[..], &5_u64.to_be_bytes(), b"a.log"].concat());
            seeds
        }
        "syslog" => texts(&[
            "\u{3}\u{7f}<34>1 2003-10-11T22:14:15.003Z host.example su - ID47 - message\n<13>Oct  1 22:14:15 host app: text\r\n",
            "\u{1}\u{14}<10>bad <> worse\n\n<999>x\n<1>2\n",
            "\u{40}\u{7f}<165>1 2003-08-24T05:14:15.000003-07:00 - evntslog\n<0>Feb 29 00:00:60 a b\n",
        ]),
        "fold" | "segment_scan" | "operations" => {
            let mut seeds = programs(6, 48);
            seeds.extend(programs(3, 400));
            seeds
        }
        other => return Err(format!("{other}: there is no such target")),
    })
}

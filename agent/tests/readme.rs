//! What the README shows must be sound: its confs pass `check`, without a warning.

use fchannel_agent::{
    config::{Mode, Request, codes, load, render},
    registry::Registry,
};

/// The fenced blocks of `language` in the README.
fn blocks(language: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let fence = format!("```{language}\n");
    readme
        .split(&fence)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

#[test]
fn the_confs_are_sound() {
    let confs = blocks("properties");
    assert_eq!(confs.len(), 2);
    let registry = Registry::builtin();
    for conf in confs {
        let env = |_: &str| None;
        let request = Request {
            file_name: "README.md",
            agent: None,
            mode: Mode::Strict,
            registry: &registry,
            env: &env,
        };
        let loaded = load(conf.as_bytes(), &request);
        // Whether its directories exist depends on the host.
        let mut found = loaded.diagnostics.items().iter();
        assert!(
            found.all(|item| item.code == codes::HOST_NOT_READY),
            "{}",
            render(&loaded.diagnostics, false)
        );
        assert_eq!(loaded.agents.len(), 1);
    }
}

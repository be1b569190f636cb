//! Tests of the settings: the table against itself, and the four sources.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use danube_model::Mistake;
use danube_telemetry::otlp::Protocol;

use super::print::as_page;
use super::sources::{Origin, Resolved, Sources, resolve};
use super::table::{Preset, ROWS, SECTIONS, index};
use super::{Config, LogFormat, as_default_file, as_text, check};
use crate::terminal::Screen;

/// Sources of a machine with nothing on it but `dir`.
fn sources(dir: &tempfile::TempDir) -> Sources {
    let home = OsString::from(dir.path().join("home"));
    Sources {
        flags: BTreeMap::new(),
        config: None,
        demo: false,
        environment: BTreeMap::from([("HOME".into(), home)]),
        working_dir: dir.path().join("work"),
        system_file: dir.path().join("etc/danube.toml"),
        is_root: false,
        cores: 2,
    }
}

fn with_file(dir: &tempfile::TempDir, text: &str) -> Sources {
    let path = dir.path().join("danube.toml");
    fs::write(&path, text).unwrap();
    Sources {
        config: Some(path),
        ..sources(dir)
    }
}

fn load(sources: &Sources) -> (Option<Config>, Resolved, Vec<Mistake>) {
    let (resolved, mut mistakes) = resolve(sources);
    let config = check::check(&resolved, sources.demo, &mut mistakes);
    (config, resolved, mistakes)
}

/// The only way to a setting in these tests: no mistakes.
fn good(sources: &Sources) -> Config {
    let (config, _, mistakes) = load(sources);
    assert_eq!(mistakes, []);
    config.unwrap()
}

/// The mistakes as `place code`, sorted.
fn mistakes(sources: &Sources) -> Vec<String> {
    let (_, _, list) = load(sources);
    let mut all: Vec<String> = list
        .iter()
        .map(|it| match it.at {
            Some(at) => format!("{}:{} {}", at.line, at.column, it.code),
            None => format!("{} {}", it.pointer, it.code),
        })
        .collect();
    all.sort();
    all
}

fn origin(resolved: &Resolved, key: &str) -> String {
    resolved.found[index(key).unwrap()].origin.to_string()
}

#[test]
fn every_row_is_whole_and_unlike_the_others() {
    let mut flags: Vec<&str> = ROWS.iter().map(|row| row.flag).collect();
    let mut variables: Vec<String> = ROWS.iter().flat_map(super::table::Row::variables).collect();
    let (all_flags, all_variables) = (flags.len(), variables.len());
    flags.sort_unstable();
    flags.dedup();
    variables.sort();
    variables.dedup();
    assert_eq!((flags.len(), variables.len()), (all_flags, all_variables));
    for row in ROWS {
        assert!(
            SECTIONS.iter().any(|(name, _)| *name == row.section()),
            "{}",
            row.key
        );
        assert!(
            !row.help.ends_with('.') && !row.example.is_empty(),
            "{}",
            row.key
        );
        if let Preset::Fixed(text) = row.preset {
            assert!(
                row.kind.read(text, "/".as_ref()).is_ok(),
                "default of {}",
                row.key
            );
        }
        // The example is what a person would copy into the file.
        let text = format!("[{}]\n{} = {}\n", row.section(), row.name(), row.example);
        let mut mistakes = Vec::new();
        let contents = super::file::read(&text, "/".as_ref(), &mut mistakes);
        assert_eq!(mistakes, [], "{}", row.key);
        assert_eq!(contents.entries.len(), 1);
    }
}

#[test]
fn nothing_has_to_be_configured() {
    let dir = tempfile::tempdir().unwrap();
    let config = good(&sources(&dir));
    let settings = config.settings;
    let data_dir = dir.path().join("home/.local/share/danube");
    assert_eq!(settings.pipelines_dir, data_dir.join("pipelines"));
    assert_eq!(settings.data_dir, data_dir);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.jobs_at_once, 4);
    assert_eq!(settings.body_bytes_max, 10 * 1024 * 1024);
    assert_eq!(
        (settings.lease.as_secs(), settings.grace.as_secs()),
        (30, 30)
    );
    assert_eq!(
        (settings.log_head_bytes, settings.log_total_bytes),
        (512 << 20, 1 << 30)
    );
    assert_eq!(settings.steps.memory_bytes, None);
    assert_eq!(
        (config.log_level.as_str(), config.log_format),
        ("info", LogFormat::Auto)
    );

    let root = Sources {
        is_root: true,
        ..sources(&dir)
    };
    assert_eq!(
        good(&root).settings.data_dir,
        PathBuf::from("/var/lib/danube")
    );
    let mut xdg = sources(&dir);
    xdg.environment.insert("XDG_DATA_HOME".into(), "/x".into());
    assert_eq!(good(&xdg).settings.data_dir, PathBuf::from("/x/danube"));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "[server]\nlisten = \"127.0.0.1:1\"\ngrace_seconds = 1\n[queue]\nlease_seconds = 7\n";
    let mut sources = with_file(&dir, text);
    sources
        .environment
        .insert("DANUBE_SERVER_LISTEN".into(), "127.0.0.1:2".into());
    sources
        .environment
        .insert("DANUBE_SERVER_GRACE_SECONDS".into(), "2".into());
    sources
        .flags
        .insert("server.listen", vec!["127.0.0.1:3".into()]);
    let (config, resolved, list) = load(&sources);
    assert_eq!(list, []);
    let settings = config.unwrap().settings;
    assert_eq!(settings.listen.port(), 3);
    assert_eq!((settings.grace.as_secs(), settings.lease.as_secs()), (2, 7));
    let said = [
        "queue.lease_seconds",
        "server.grace_seconds",
        "server.listen",
    ];
    assert!(settings.said.iter().eq(said.iter()), "{:?}", settings.said);
    let file = dir.path().join("danube.toml");
    for (key, expected) in [
        ("server.listen", "flag --listen".to_owned()),
        (
            "server.grace_seconds",
            "environment DANUBE_SERVER_GRACE_SECONDS".to_owned(),
        ),
        ("queue.lease_seconds", format!("file {}:5", file.display())),
        ("steps.network", "default".to_owned()),
    ] {
        assert_eq!(origin(&resolved, key), expected);
    }
}

#[test]
fn all_mistakes_of_all_sources_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[server]\n\
                lisen = \"127.0.0.1:1\"\n\
                grace_seconds = \"thirty\"\n\
                insecure_http = 1\n\
                body_bytes_max = \"10 mega\"\n\
                listen = \"0.0.0.0:80\"\n\
                [queue]\n\
                lease_seconds = 2\n\
                jobs_at_once = -1\n\
                [sever]\n\
                x = 1\n\
                [sources]\n\
                allow_paths = [\"/a\", 1]\n\
                [log]\n\
                head_bytes = 2024-01-01\n";
    let mut sources = with_file(&dir, text);
    sources
        .flags
        .insert("server.listen", vec!["localhost".into()]);
    sources.flags.insert("log.total_bytes", vec!["lots".into()]);
    sources
        .environment
        .insert("DANUBE_SERVER_LISTN".into(), "x".into());
    sources
        .environment
        .insert("DANUBE_LOG_LEVEL".into(), "loud".into());
    sources
        .environment
        .insert("DANUBE_STEPS_CPU_CORES".into(), "0".into());
    assert_eq!(
        mistakes(&sources),
        [
            "--listen setting.value",
            "--log-total setting.value",
            "10:2 setting.unknown",
            "13:15 setting.value",
            "15:14 setting.type",
            "2:1 setting.unknown",
            "3:17 setting.type",
            "4:17 setting.type",
            "5:18 setting.value",
            "8:17 setting.value",
            "9:16 setting.value",
            "DANUBE_LOG_LEVEL setting.value",
            "DANUBE_SERVER_LISTN setting.unknown",
            "DANUBE_STEPS_CPU_CORES setting.value",
        ]
    );
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[server]\nlisen = 1\nlisten = \n\n[queue\nlease_seconds = 1\n";
    let found = mistakes(&with_file(&dir, text));
    assert_eq!(
        found,
        ["2:1 setting.unknown", "3:10 file.syntax", "5:7 file.syntax"]
    );
    let found = mistakes(&with_file(
        &dir,
        "[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n",
    ));
    assert_eq!(found, ["3:1 file.syntax"]);
}

#[test]
fn an_address_for_others_needs_a_word_more() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    assert_eq!(mistakes(&with_file(&dir, text)), ["2:10 setting.conflict"]);
    good(&with_file(&dir, &format!("{text}insecure_http = true\n")));
    for loopback in ["[::1]:0", "127.8.9.1:0", "[::ffff:127.0.0.1]:1"] {
        let mut sources = sources(&dir);
        sources.flags.insert("server.listen", vec![loopback.into()]);
        good(&sources);
    }
    for public in ["[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
        let mut sources = sources(&dir);
        sources.flags.insert("server.listen", vec![public.into()]);
        assert_eq!(
            mistakes(&sources),
            ["--listen setting.conflict"],
            "{public}"
        );
        sources
            .flags
            .insert("server.insecure_http", vec!["true".into()]);
        good(&sources);
    }
}

#[test]
fn a_log_has_room_for_its_newest_part() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[log]\nhead_bytes = \"2GiB\"\n";
    assert_eq!(mistakes(&with_file(&dir, text)), ["2:14 setting.conflict"]);
    let text = "[log]\nhead_bytes = \"2GiB\"\ntotal_bytes = \"2GiB\"\n";
    assert_eq!(mistakes(&with_file(&dir, text)), ["3:15 setting.conflict"]);
    good(&with_file(
        &dir,
        "[log]\nhead_bytes = \"2GiB\"\ntotal_bytes = \"3GiB\"\n",
    ));
}

#[test]
fn the_file_in_the_data_directory_comes_before_the_one_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&dir);
    let (data, etc) = (dir.path().join("data"), dir.path().join("etc"));
    fs::create_dir_all(&data).unwrap();
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("danube.toml"), "[server]\ngrace_seconds = 1\n").unwrap();
    assert_eq!(good(&sources).settings.grace.as_secs(), 1);
    fs::write(data.join("danube.toml"), "[server]\ngrace_seconds = 2\n").unwrap();
    assert_eq!(good(&sources).settings.grace.as_secs(), 1);
    sources
        .environment
        .insert("DANUBE_SERVER_DATA_DIR".into(), data.clone().into());
    assert_eq!(good(&sources).settings.grace.as_secs(), 2);
    fs::write(
        dir.path().join("named.toml"),
        "[server]\ngrace_seconds = 3\n",
    )
    .unwrap();
    sources
        .environment
        .insert("DANUBE_CONFIG".into(), dir.path().join("named.toml").into());
    assert_eq!(good(&sources).settings.grace.as_secs(), 3);
    sources.config = Some("absent.toml".into());
    let absent = dir.path().join("work/absent.toml");
    assert_eq!(
        mistakes(&sources),
        [format!("{} file.read", absent.display())]
    );
}

#[test]
fn paths_begin_where_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = with_file(
        &dir,
        "[pipelines]\ndir = \"lines\"\n[sources]\nallow_paths = [\"git\", \"/srv\"]\n",
    );
    let settings = good(&sources).settings;
    assert_eq!(settings.pipelines_dir, dir.path().join("lines"));
    assert_eq!(
        settings.allow_paths,
        [dir.path().join("git"), "/srv".into()]
    );
    sources
        .environment
        .insert("DANUBE_SOURCES_ALLOW_PATHS".into(), "a:/b".into());
    assert_eq!(
        good(&sources).settings.allow_paths,
        [dir.path().join("work/a"), "/b".into()]
    );
    sources
        .flags
        .insert("sources.allow_paths", vec!["c".into(), "d".into()]);
    let work = dir.path().join("work");
    assert_eq!(
        good(&sources).settings.allow_paths,
        [work.join("c"), work.join("d")]
    );
}

#[test]
fn two_names_of_one_variable_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&dir);
    sources
        .environment
        .insert("DANUBE_LOG_LEVEL".into(), "debug".into());
    sources
        .environment
        .insert("DANUBE_OBSERVABILITY_LOG_LEVEL".into(), "debug".into());
    assert_eq!(good(&sources).log_level, "debug");
    sources
        .environment
        .insert("DANUBE_OBSERVABILITY_LOG_LEVEL".into(), "info".into());
    assert_eq!(mistakes(&sources), ["DANUBE_LOG_LEVEL setting.twice"]);
    sources
        .environment
        .insert("DANUBE_OBSERVABILITY_LOG_LEVEL".into(), "".into());
    assert_eq!(good(&sources).log_level, "debug");
}

#[test]
fn variables_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&dir);
    for name in [
        "DANUBE_SERVER",
        "DANUBE_API_KEY",
        "DANUBE_JOB_ID",
        "DANUBE_STEP",
        "DANUBE",
        "DANUBE_PARAM_X",
    ] {
        sources.environment.insert(name.into(), "x".into());
    }
    good(&sources);
}

#[test]
fn a_collector_is_an_address_a_protocol_and_headers_that_fit() {
    let dir = tempfile::tempdir().unwrap();
    let config = good(&sources(&dir));
    assert_eq!((config.export, config.secrets), (None, Vec::new()));

    let text = "[observability]\n\
                otel_endpoint = \"https://me:p%40ssword@otel.example.org/in\"\n\
                otel_protocol = \"http/protobuf\"\n\
                otel_headers = [\"X-Tenant: acme-corp\"]\n\
                metrics_interval_seconds = 5\n\
                logs_enabled = false\n\
                job_logs_enabled = true\n";
    let config = good(&with_file(&dir, text));
    let export = config.export.unwrap();
    assert_eq!(export.endpoint.url, "https://otel.example.org/in");
    assert_eq!(export.endpoint.protocol, Protocol::HttpProtobuf);
    let names: Vec<_> = export.endpoint.headers.iter().map(|it| &*it.0).collect();
    assert_eq!(names, ["x-tenant", "authorization"]);
    assert_eq!(export.metrics, Some(Duration::from_secs(5)));
    assert!(!export.logs && export.job_logs && export.traces);
    assert!(config.settings.metrics_enabled);
    for secret in ["acme-corp", "p%40ssword", "p@ssword"] {
        assert!(config.secrets.iter().any(|it| it == secret), "{secret}");
    }
    let off = text.to_owned() + "metrics_enabled = false\n";
    let config = good(&with_file(&dir, &off));
    assert_eq!(config.export.unwrap().metrics, None);
    assert!(!config.settings.metrics_enabled);
}

#[test]
fn what_is_wrong_with_a_collector_is_said_and_its_secrets_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let told = |text: &str| {
        let (_, resolved, list) = load(&with_file(&dir, &format!("[observability]\n{text}")));
        let shown = resolved.source.unwrap().text;
        assert!(!shown.contains("s3cret"), "{shown}");
        let all: Vec<String> = list.iter().map(|it| it.message.clone()).collect();
        all.join("\n")
    };
    assert_eq!(
        told("otel_endpoint = \"http://me:s3cret\"\n"),
        "`otel_endpoint` must be an address such as http://127.0.0.1:4317, also with user:password@ before the host; \
         what stands there isn't shown, since it may be a secret"
    );
    assert_eq!(
        told("otel_headers = [\"authorization s3cret\"]\n"),
        "`otel_headers` must be a list of headers, each `name: value`, with no name twice; what stands there isn't \
         shown, since it may be a secret"
    );
    assert_eq!(
        told("otel_endpoint = \"http://127.0.0.1:4317/path\"\n"),
        "over gRPC a collector's address has no path"
    );
    assert_eq!(
        told(
            "otel_endpoint = \"http://a:s3cret@b\"\notel_headers = [\"authorization: Bearer s3cret\"]\n"
        ),
        "the header authorization and the collector's address both say who we are"
    );
    assert_eq!(
        told("otel_protocol = \"json\"\n"),
        "`otel_protocol` must be one of grpc, http/protobuf, found `json`"
    );
    // A slip in the key, in a place where nobody looks for a secret.
    let slips = [
        "otel_header = [\"a: s3cret\"]\n",
        "otel_header = [\n  \"a: s3cret\",\n  \"s3cret==\",\n]\n",
        "otel_header = \"\"\"\ns3cret=\n\"\"\"\n",
        "[observabilty]\notel_headers = [\"a: s3cret\"]\n",
        "observability.otel_headers = \"s3cret\n",
        "observability.otel_header = [\"a: s3cret\"]\n",
        "[other]\nobservability.otel_header = [\n  \"a: s3cret\",\n]\n",
        "[logs_enable]\notel_header = [\"a: s3cret\"]\n",
        "logs_enable = { otel_header = [\"a: s3cret\"] }\n",
        "otel_headers = [\n  [\"s3cret\",\n",
        "otel_headers = [\"a: b\"]\notel_headers = \"\"\"\ns3cret=\n\"\"\"\n",
        "otel_headers = [\n  \"a: s3cret==\"\n  x = 1\n",
    ];
    for slip in slips {
        assert!(!told(slip).is_empty(), "{slip}");
    }
    // A line that can't be read at all.
    let broken = told("otel_headers = [\"x: s3cret\n");
    assert!(broken.contains("not valid TOML"), "{broken}");
}

#[test]
fn headers_of_a_variable_stand_a_line_each_and_flags_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&dir);
    let endpoint = "http://127.0.0.1:4317";
    sources
        .flags
        .insert("observability.otel_endpoint", vec![endpoint.into()]);
    sources.environment.insert(
        "DANUBE_OBSERVABILITY_OTEL_HEADERS".into(),
        "a: 1\nb: 2".into(),
    );
    let names = |sources: &Sources| {
        let headers = good(sources).export.unwrap().endpoint.headers;
        headers.into_iter().map(|it| it.0).collect::<Vec<_>>()
    };
    assert_eq!(names(&sources), ["a", "b"]);
    let flags = vec!["c: 3".into(), "d: 4".into()];
    sources.flags.insert("observability.otel_headers", flags);
    assert_eq!(names(&sources), ["c", "d"]);
}

#[test]
fn without_a_home_the_data_directory_has_to_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(&dir);
    sources.environment.clear();
    assert_eq!(mistakes(&sources), ["--data-dir setting.conflict"]);
    sources.flags.insert("server.data_dir", vec!["here".into()]);
    assert_eq!(
        good(&sources).settings.data_dir,
        dir.path().join("work/here")
    );
}

/// The settings, whoever said them.
fn unsaid(mut config: Config) -> Config {
    config.settings.said.clear();
    config.settings.shown.options.clear();
    config.settings.shown.file = None;
    config
}

#[test]
fn what_is_shown_can_be_used_as_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = sources(&dir);
    first.flags.insert("steps.cpu_cores", vec!["1.5".into()]);
    first
        .flags
        .insert("steps.memory_bytes", vec!["1GiB".into()]);
    first.flags.insert("steps.path", vec!["/a \"b\":/c".into()]);
    first
        .flags
        .insert("sources.allow_paths", vec!["/srv/git".into()]);
    let (config, resolved, _) = load(&first);
    let text = as_text(&resolved, true, &Screen::plain());
    let again = with_file(&dir, &text);
    assert_eq!(unsaid(good(&again)), unsaid(config.unwrap()));
}

#[test]
fn the_default_file_changes_nothing_commented_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let text = as_default_file();
    let own = unsaid(good(&sources(&dir)));
    assert_eq!(unsaid(good(&with_file(&dir, &text))), own);
    let is_option = |line: &&str| line.starts_with("# ") && line.contains(" = ");
    let sections = text.lines().filter(|line| line.starts_with('['));
    let bare: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with('[') || is_option(line))
        .collect();
    let bare = bare.join("\n").replace("\n# ", "\n");
    let (_, resolved, list) = load(&with_file(&dir, &bare));
    assert_eq!(list, []);
    let said = resolved
        .found
        .iter()
        .filter(|it| matches!(it.origin, Origin::File(..)));
    assert_eq!(
        (sections.count(), said.count()),
        (SECTIONS.len(), ROWS.len())
    );
}

#[test]
fn the_reference_page_is_up_to_date() {
    crate::golden::check("../../docs/configuration.md", &as_page());
}

const RULE: &str = "[[redaction.rules]]\n\
                    id = \"acme_key\"\n\
                    keyword = \"ACME-\"\n\
                    pattern = 'ACME-[A-Z0-9]{12}'\n";

#[test]
fn rules_for_redaction_hold_for_jobs_and_for_the_servers_own_log() {
    let dir = tempfile::tempdir().unwrap();
    let config = good(&with_file(
        &dir,
        &format!("[redaction]\nemail = true\n{RULE}case_sensitive = true\n"),
    ));
    for rules in [&config.rules, &config.settings.rules] {
        assert_eq!(rules.user().len(), 1);
        assert_eq!(rules.user()[0].pattern, "ACME-[A-Z0-9]{12}");
        assert!(rules.user()[0].case_sensitive);
        assert!(rules.ids().contains(&"jwt"));
    }
    assert!(config.settings.rules.ids().contains(&"email"));
    assert!(!config.rules.ids().contains(&"email"));
}

#[test]
fn rules_for_redaction_can_be_said_on_one_line_and_are_shown_so() {
    let dir = tempfile::tempdir().unwrap();
    let list = "[{ id = \"a\", keyword = \"acme\", pattern = 'acme \"\\d+\"' }, \
                { id = \"b\", keyword = \"Acme\", pattern = 'Acme', case_sensitive = true }]";
    let mut sources = with_file(&dir, RULE);
    sources
        .environment
        .insert("DANUBE_REDACTION_RULES".into(), list.into());
    let (config, resolved, list) = load(&sources);
    assert_eq!(list, []);
    let rules = &config.as_ref().unwrap().rules;
    assert_eq!(
        rules.ids().iter().filter(|it| it.len() == 1).count(),
        2,
        "the variable's rules stand in place of the file's"
    );
    assert_eq!(rules.user()[0].pattern, "acme \"\\d+\"");
    let text = as_text(&resolved, true, &Screen::plain());
    let again = good(&with_file(&dir, &text));
    assert_eq!(unsaid(again), unsaid(config.unwrap()));
}

#[test]
fn every_mistake_in_every_rule_for_redaction_is_told_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[[redaction.rules]]\n\
                id = \"Acme\"\n\
                keyword = \"ac\"\n\
                pattern = '('\n\
                [[redaction.rules]]\n\
                id = 1\n\
                patern = 'x'\n\
                case_sensitive = \"no\"\n\
                keyword = \"acme\"\n\
                [[redaction.rules]]\n\
                id = \"jwt\"\n\
                keyword = \"acme\"\n\
                pattern = 'acme|'\n";
    let mut sources = with_file(&dir, text);
    assert_eq!(
        mistakes(&sources),
        [
            "11:6 setting.value",
            "13:11 setting.value",
            "2:6 setting.value",
            "3:11 setting.value",
            "4:11 setting.value",
            "5:1 setting.missing",
            "6:6 setting.type",
            "7:1 setting.unknown",
            "8:18 setting.type",
        ]
    );
    let (_, _, list) = load(&sources);
    let pointers: Vec<&str> = list.iter().map(|it| it.pointer.as_str()).collect();
    assert!(
        pointers.contains(&"/redaction/rules/0/pattern"),
        "{pointers:?}"
    );
    assert!(pointers.contains(&"/redaction/rules/2/id"), "{pointers:?}");

    sources.config = None;
    for wrong in [
        "x",
        "[{",
        "1",
        "[1]",
        "[]\nother = 1",
        "[{ id = \"x\" }]",
        "[{ id = \"jwt\", keyword = \"acme\", pattern = \"acme\" }]",
    ] {
        sources
            .environment
            .insert("DANUBE_REDACTION_RULES".into(), wrong.into());
        let found = mistakes(&sources);
        let here = |it: &String| it.starts_with("DANUBE_REDACTION_RULES setting.");
        assert!(
            !found.is_empty() && found.iter().all(here),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn a_run_without_a_server_redacts_as_these_settings_say_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = with_file(&dir, &format!("{RULE}[server]\nlisen = 1\n"));
    let rules = super::redaction(&sources).unwrap();
    assert_eq!(rules.user().len(), 1);
    sources
        .environment
        .insert("DANUBE_REDACTION_EMAIL".into(), "maybe".into());
    assert!(super::redaction(&sources).is_err());
    sources.environment.clear();
    sources.config = Some("absent.toml".into());
    assert!(super::redaction(&sources).is_err());
}

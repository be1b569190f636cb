//! Artifacts of a Nexus repository, by the paths that Nexus serves.

use std::fs;

use danube_model::playbook::source::{Artifact, Checksum, Nexus, Source};
use danube_source::{Auth, Request, Secret, SourceError};

use crate::archives::{PLAY, sha256};
use crate::hostile::{Tar, gzip};
use crate::http::{Answer, Server};
use crate::support::{PATIENCE, World, snapshot};

fn nexus(server: &Server, artifact: Artifact, path: Option<&str>) -> Nexus {
    Nexus {
        url: server.url(""),
        repository: "plays".to_owned(),
        artifact,
        checksum: None,
        path: path.map(str::to_owned),
        strip_components: 0,
    }
}

fn maven(version: &str, classifier: Option<&str>) -> Artifact {
    Artifact::Maven2 {
        group: "org.example".to_owned(),
        artifact: "web".to_owned(),
        version: version.to_owned(),
        classifier: classifier.map(str::to_owned),
        extension: "tar.gz".to_owned(),
    }
}

fn raw(path: &str) -> Artifact {
    Artifact::Raw {
        path: path.to_owned(),
    }
}

fn packed() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.file("site.yml", PLAY.as_bytes());
    gzip(&tar.done())
}

const DIRECTORY: &str = "/repository/plays/org/example/web";

#[test]
fn artifacts_are_found_by_their_coordinates() {
    let packed = packed();
    let sum = sha256(&packed);
    let at = |name: &str| format!("{DIRECTORY}/{name}");
    let body = |it: &[u8]| Answer::Body(it.to_vec());
    let (release, release_sum) = (at("1.0/web-1.0.tar.gz"), at("1.0/web-1.0.tar.gz.sha256"));
    let metadata = at("2-SNAPSHOT/maven-metadata.xml");
    let snapshot_file = at("2-SNAPSHOT/web-2-20260101.000000-7-dist.tar.gz");
    let xml = "<snapshotVersions><snapshotVersion><classifier>dist</classifier><extension>tar.gz</extension><value>2-20260101.000000-7</value></snapshotVersion></snapshotVersions>";
    let server = Server::start(vec![
        (&release, body(&packed)),
        (
            &release_sum,
            body(format!("{sum}  web.tar.gz\n").as_bytes()),
        ),
        (&metadata, body(xml.as_bytes())),
        (&snapshot_file, body(&packed)),
        ("/repository/plays/a%20b/web.tgz", body(&packed)),
        ("/repository/plays/single.yml", body(PLAY.as_bytes())),
    ]);
    let world = World::new();
    for (at, (artifact, path)) in [
        (maven("1.0", None), Some("site.yml")),
        (maven("2-SNAPSHOT", Some("dist")), Some("site.yml")),
        (raw("a b/web.tgz"), Some("site.yml")),
        (raw("single.yml"), None),
    ]
    .into_iter()
    .enumerate()
    {
        let into = world.job(&format!("job{at}"));
        let source = Source::Nexus(nexus(&server, artifact, path));
        let fetched = world.fetch(&source, &into).unwrap();
        assert_eq!(fs::read_to_string(fetched.playbook).unwrap(), PLAY);
        assert!(fetched.revision.unwrap().starts_with("sha256:"));
    }
    let into = world.job("none");
    let source = Source::Nexus(nexus(&server, maven("2-SNAPSHOT", None), Some("site.yml")));
    let error = world.fetch(&source, &into).unwrap_err();
    assert!(error.to_string().contains("names no snapshot"), "{error}");
}

#[test]
fn a_file_that_isnt_what_nexus_says_is_refused() {
    let at = |name: &str| format!("{DIRECTORY}/1.0/web-1.0.tar.gz{name}");
    let wrong = "0".repeat(40);
    let (file, sum) = (at(""), at(".sha1"));
    let server = Server::start(vec![
        (&file, Answer::Body(packed())),
        (&sum, Answer::Body(wrong.clone().into_bytes())),
    ]);
    let world = World::new();
    let into = world.job("into");
    let mut wanted = nexus(&server, maven("1.0", None), Some("site.yml"));
    let error = world
        .fetch(&Source::Nexus(wanted.clone()), &into)
        .unwrap_err();
    assert!(
        matches!(&error, SourceError::Checksum { algorithm: "SHA-1", expected, .. } if *expected == wrong),
        "{error}"
    );
    assert_eq!(snapshot(&into), [""; 0]);
    // What the request says goes before what the repository says.
    wanted.checksum = Some(Checksum::Sha256(sha256(&packed())));
    world.fetch(&Source::Nexus(wanted), &into).unwrap();
}

#[test]
fn a_private_repository_wants_its_credential() {
    let guarded = Answer::Guarded("Bearer hunter2hunter2", packed());
    let server = Server::start(vec![("/repository/plays/web.tgz", guarded)]);
    let world = World::new();
    let into = world.job("into");
    let source = Source::Nexus(nexus(&server, raw("web.tgz"), Some("site.yml")));
    let error = world.fetch(&source, &into).unwrap_err();
    assert!(error.to_string().contains("wants a credential"), "{error}");
    let auth = |token: &str| Auth::Bearer(Secret::new(token.to_owned()));
    let wrong = auth("wrong");
    let error = world
        .fetch_with(&source, &into, None, Some(&wrong))
        .unwrap_err();
    assert!(error.to_string().contains("refuses the one"), "{error}");
    let right = auth("hunter2hunter2");
    let request = Request {
        source: &source,
        git: None,
        nexus: Some(&right),
        into: &into,
    };
    let (fetched, lines) = world.watched(&request, PATIENCE);
    fetched.unwrap();
    assert!(lines.iter().any(|it| it.contains("has none")), "{lines:?}");
    assert!(!lines.iter().any(|it| it.contains("hunter2")), "{lines:?}");
}

//! What a real Ansible makes of what was fetched. Without one these tests say so.

use std::fs;
use std::path::Path;
use std::process::Command;

use danube_model::playbook::source::Source;
use danube_source::galaxy;

use crate::git::{commit, run};
use crate::support::World;

/// Runs one of Ansible's programs; none when there is no Ansible here.
fn ansible(
    argv: &[String],
    env: &[(String, String)],
    directory: &Path,
    home: &Path,
) -> Option<String> {
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .envs(env.iter().cloned())
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .current_dir(directory)
        .output();
    let Ok(output) = output else {
        eprintln!("left out: {} isn't installed", argv[0]);
        return None;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{argv:?}: {said}{wrong}");
    Some(said)
}

/// A repository of files; answers with its address.
fn repository(world: &World, name: &str, files: &[(&str, &str)]) -> String {
    let repo = world.job(name);
    run(&repo, &["init", "--quiet"]);
    for (file, text) in files {
        let path = repo.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    commit(&repo, "all");
    repo.to_str().unwrap().to_owned()
}

const META: &str =
    "galaxy_info: {author: a, description: a, license: a, min_ansible_version: '2.9'}\n";

const COLLECTION: &str =
    "{namespace: acme, name: tools, version: 1.0.0, readme: README.md, authors: [a]}\n";

#[test]
fn a_role_runs_with_what_it_requires() {
    let world = World::new();
    let base = [
        ("tasks/main.yml", "- debug: {msg: 'from the base'}\n"),
        ("meta/main.yml", META),
    ];
    let base = repository(&world, "base", &base);
    let tools = [("galaxy.yml", COLLECTION), ("README.md", "x\n")];
    let tools = repository(&world, "tools", &tools);
    let needs = format!(
        "roles:\n- {{src: 'git+file://{base}', name: base}}\ncollections:\n- {{name: '{tools}', type: git}}\n"
    );
    let tasks = "- debug: {msg: '{{ text }}'}\n- include_role: {name: base}\n";
    let web = [("tasks/main.yml", tasks), ("requirements.yml", &needs)];
    let web = repository(&world, "web", &web);
    let source = Source::Role {
        repo: web,
        git_ref: None,
        name: "web".to_owned(),
        hosts: "localhost".to_owned(),
        vars: serde_json::from_str(r#"{"text": "it's a \"text\": yes"}"#).unwrap(),
    };
    let into = world.job("into");
    let (home, installed) = (world.job("home"), world.job("galaxy"));
    let fetched = world.fetch(&source, &into).unwrap();
    for needed in galaxy::requirements(&source, &into) {
        let install = galaxy::install(&needed, &installed, None);
        if ansible(&install.argv, &install.env, &into, &home).is_none() {
            return;
        }
    }
    assert!(
        installed
            .join("collections/ansible_collections/acme/tools")
            .exists()
    );
    let argv = ["ansible-playbook", "-c", "local", "-i", "localhost,"].map(str::to_owned);
    let mut argv = argv.to_vec();
    argv.push(fetched.playbook.to_str().unwrap().to_owned());
    let path = ["roles", "collections"].map(|it| {
        let name = format!("ANSIBLE_{}_PATH", it.to_uppercase());
        (name, installed.join(it).to_str().unwrap().to_owned())
    });
    let said = ansible(&argv, &path, &into, &home).unwrap();
    assert!(said.contains(r#"it's a \"text\": yes"#), "{said}");
    assert!(said.contains("from the base"), "{said}");
}

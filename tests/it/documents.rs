//! The commands in README.md and docs/DEPLOYMENT.md work as documented. The tests run them unchanged, against servers with
//! the settings of `make run` and docker-compose.yml.

mod compose;
mod examples;

use std::{fmt::Write as _, fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    program::{Output, Running, afforo_in, on, run},
    servers,
};
use compose::Compose;

/// A fenced block of a document.
struct Block {
    heading: String,
    language: String,
    text: String,
}

/// All fenced blocks of a document, each with its heading.
fn blocks(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(document).unwrap();
    let (mut blocks, mut heading, mut open) = (Vec::<Block>::new(), "", false);
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                blocks.push(Block {
                    heading: heading.to_owned(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text += line;
                block.text += "\n";
            }
            None if line.starts_with('#') => heading = line.trim_start_matches(['#', ' ']),
            None => {}
        }
    }
    blocks
}

impl Block {
    fn is_commands(&self) -> bool {
        // Lines for the file `.env` are no commands.
        ["sh", "bash"].contains(&self.language.as_str())
            && !self.text.lines().all(|line| {
                line.starts_with('#') || line.split_once('=').is_some_and(|(name, _)| is_name(name))
            })
    }
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// A folder with what the commands need: the scripts of a clone, and replacements for programs that need Docker, the
/// network or a terminal.
fn folder() -> TempDir {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("scripts")).unwrap();
    fs::copy("scripts/make-env.sh", path("scripts/make-env.sh")).unwrap();
    fs::create_dir(path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_afforo"), path("bin/afforo")).unwrap();
    for (name, script) in [
        ("docker-compose", compose::PROGRAM),
        ("git", "#!/bin/sh\n[ \"$*\" = pull ]\n"),
    ] {
        let program = path("bin").join(name);
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Runs a shell script in such a folder; `localhost:8000` is the server at `port`.
async fn shell(folder: &Path, script: &str, port: u16, variables: &[(String, String)]) -> Output {
    let curlrc = format!(
        "silent\nshow-error\nfail-with-body\nnoproxy = \"*\"\nconnect-to = \"localhost:8000:127.0.0.1:{port}\"\n"
    );
    fs::write(folder.join(".curlrc"), curlrc).unwrap();
    let postgres = Command::new("scripts/install-servers.sh")
        .arg("--postgres-folder")
        .output()
        .await
        .unwrap();
    let postgres = String::from_utf8(postgres.stdout).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command.args(["-e", "-c", script]).current_dir(folder).env_clear();
    command
        .env(
            "PATH",
            format!("{}/bin:{}:{path}", folder.display(), postgres.trim()),
        )
        .env("HOME", folder)
        .env("PGHOST", servers::postgres().socket_dir())
        .envs(variables.iter().cloned());
    run(&mut command).await
}

/// Runs the examples below "First requests" and compares their output with the document. Returns the key's id.
async fn first_requests(folder: &Path, before: &str, port: u16, variables: &[(String, String)]) {
    const MARK: &str = "\n=== the next block\n";
    let readme = blocks("README.md");
    let examples: Vec<&Block> = readme
        .iter()
        .filter(|block| block.heading == "First requests")
        .collect();
    let mut script = before.to_owned();
    for block in &examples {
        if block.is_commands() {
            write!(script, "printf '{}'\n{}", MARK.replace('\n', "\\n"), block.text).unwrap();
        }
    }
    let output = shell(folder, &script, port, variables).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let mut answers = output.out.split(MARK).skip(1);
    let mut answer = "";
    let mut compared = 0;
    for block in examples {
        if block.is_commands() {
            answer = answers.next().expect("an answer to each block");
        } else {
            assert_eq!(untimed(answer), untimed(&block.text));
            compared += 1;
        }
    }
    assert_eq!((compared, answers.next()), (2, None));
}

/// A JSON text as its values, with `…` for every timestamp.
fn untimed(text: &str) -> Value {
    fn cut(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if name.ends_with("_at") {
                        *value = "…".into();
                    }
                    cut(value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(cut),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    cut(&mut value);
    value
}

#[test]
fn readme_commands_are_under_known_headings_only() {
    let known = ["Run it", "With Docker", "First requests"];
    for block in blocks("README.md").iter().filter(|block| block.is_commands()) {
        assert!(
            known.contains(&block.heading.as_str()),
            "no test runs:\n{}",
            block.text
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_commands_work_with_make_run() {
    let readme = blocks("README.md");
    let mut run_it = readme.iter().filter(|block| block.heading == "Run it");
    assert_eq!(run_it.next().unwrap().text, "make run\n");
    let makefile = fs::read_to_string("Makefile").unwrap();
    let recipe = makefile
        .split_once("\nrun: ")
        .unwrap()
        .1
        .split("\n\n")
        .next()
        .unwrap();
    let arguments = recipe.split_once("cargo run --release -- ").unwrap().1.trim();

    let folder = folder();
    let mut line: Vec<&str> = arguments.split_whitespace().collect();
    line.extend(["127.0.0.1:0", "--ephemeral"]);
    let mut dev = Running::start(&mut afforo_in(folder.path(), &line));
    let port = dev.address().await.port();
    first_requests(folder.path(), "", port, &[]).await;
    dev.says("order confirmation sent order_id=1").await;
    dev.signal(Signal::INT);
    assert_eq!(dev.ends().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_commands_work_with_docker() {
    let readme = blocks("README.md");
    let mut blocks = readme.iter().filter(|block| block.heading == "With Docker");
    let (start, then) = (blocks.next().unwrap(), blocks.next().unwrap());
    assert!(start.is_commands() && then.is_commands() && blocks.next().is_none());

    let (folder, database) = (folder(), servers::empty_database().await);
    let started = shell(folder.path(), &start.text, 0, &[]).await;
    assert_eq!(started.code, Some(0), "{started:?}");
    let redis = servers::redis().url(servers::redis_database());
    let compose = Compose::read(folder.path(), &database.url(), &redis);
    let (mut web, mut worker) = (
        compose.start("web", folder.path()),
        compose.start("worker", folder.path()),
    );
    let port = web.address().await.port();
    let variables = compose.variables("web");
    first_requests(folder.path(), &then.text, port, &variables).await;
    worker.says("order confirmation sent order_id=1").await;
    // The key of the examples has only these scopes.
    let key = then
        .text
        .lines()
        .find(|line| line.contains("apikey create"))
        .unwrap();
    assert!(
        key.contains("--scopes catalog:read,orders:read,orders:write"),
        "{key}"
    );
    for process in [&mut web, &mut worker] {
        assert!(!process.output().contains("ERROR"), "{}", process.output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployment_commands_work() {
    let mut admin = PgConnection::connect(&servers::postgres().url("postgres"))
        .await
        .unwrap();
    for sql in [
        "create role afforo superuser login",
        "create database afforo owner afforo",
    ] {
        admin.execute(sql).await.unwrap();
    }
    let folder = folder();
    let made = shell(folder.path(), "sh scripts/make-env.sh", 0, &[]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let redis = servers::redis().url(servers::redis_database());
    let compose = Compose::read(folder.path(), &servers::postgres().url("afforo"), &redis);
    let mut migrate = afforo_in(folder.path(), &["migrate"]);
    on(&mut migrate, &servers::postgres().url("afforo"), &redis);
    assert_eq!(run(&mut migrate).await.code, Some(0));
    let mut variables = compose.variables("web");
    variables.push((
        "DJANGO_SUPERUSER_PASSWORD".to_owned(),
        "correct horse battery".to_owned(),
    ));
    let mut commands = 0;
    for block in blocks("docs/DEPLOYMENT.md")
        .iter()
        .filter(|block| block.is_commands())
    {
        for command in block.text.replace("\\\n", " ").lines() {
            if command.starts_with('#') {
                continue;
            }
            let output = shell(folder.path(), command, 0, &variables).await;
            // The jobs that these commands name are examples.
            let expected = i32::from(command.contains("delivery:17"));
            assert_eq!(output.code, Some(expected), "{command}: {output:?}");
            commands += 1;
        }
    }
    assert!(commands > 20, "{commands}");
    let mut database = PgConnection::connect(&servers::postgres().url("afforo"))
        .await
        .unwrap();
    let restored: (i64, i64) =
        sqlx::query_as("select (select count(*) from product), (select count(*) from account)")
            .fetch_one(&mut database)
            .await
            .unwrap();
    assert_eq!(restored, (1000, 1));
}

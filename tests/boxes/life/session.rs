//! One long session over all verbs, as somebody types it.

use std::io::Write;
use std::process::Stdio;

use libtest_mimic::Failed;

use super::until;
use crate::Case;
use crate::host::Scratch;
use crate::nsctl::{Outcome, Running, command, must, nsctl, outcome, spawn, with_input};
use crate::root::Root;

pub(super) const CASES: &[(&str, Case)] = &[("session_over_all_verbs", session)];

/// Counts what was done.
struct Session {
    steps: u32,
}

impl Session {
    /// One command; words are apart by blanks, but for what is between quotes. Standard output must be `out`.
    fn says(&mut self, line: &str, out: &str) -> Result<(), Failed> {
        let done = self.run(line);
        must(done.code == 0 && done.out == out, &format!("step {}: {line}: '{out}'", self.steps), &done)
    }

    fn has(&mut self, line: &str, text: &str) -> Result<(), Failed> {
        let done = self.run(line);
        must(done.code == 0 && done.out.contains(text), &format!("step {}: {line}: …{text}…", self.steps), &done)
    }

    fn fails(&mut self, line: &str, code: i32, text: &str) -> Result<(), Failed> {
        let done = self.run(line);
        let right = done.code == code && done.err.contains(text);
        must(right, &format!("step {}: {line}: exit {code}, {text}", self.steps), &done)
    }

    fn run(&mut self, line: &str) -> Outcome {
        self.steps += 1;
        nsctl(&words(line).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Begun, and seen to its end later.
    fn begin(&mut self, line: &str) -> Running {
        self.steps += 1;
        spawn(&words(line).iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let split = |(number, part): (usize, &str)| match number % 2 {
        1 => vec![part.to_string()],
        _ => part.split_whitespace().map(str::to_string).collect(),
    };
    quoted.flat_map(split).collect()
}

fn session() -> Result<(), Failed> {
    let mut session = Session { steps: 0 };
    let root = Root::plain("session").file("greeting", "hello\n");
    let scratch = Scratch::new("session");
    std::fs::create_dir_all(scratch.path(""))?;
    made(&mut session, root.path(), &scratch)?;
    used(&mut session, &scratch)?;
    stopped(&mut session)?;
    created(&mut session, root.path(), &scratch)?;
    restarted(&mut session)?;
    changed(&mut session)?;
    watched(&mut session, root.path())?;
    removed(&mut session)?;
    println!("{} steps", session.steps);
    assert!(session.steps >= 100, "{} steps are not 100", session.steps);
    Ok(())
}

fn made(session: &mut Session, root: &str, scratch: &Scratch) -> Result<(), Failed> {
    session.has("version", "nsctl")?;
    session.says("ps -q", "")?;
    session.says("run --rootfs ROOT -- cat /greeting".replace("ROOT", root).as_str(), "hello\n")?;
    let (cid, pid) = (scratch.path("cid"), scratch.path("pid"));
    let script =
        "trap 'echo bye; exit 3' TERM; echo up; echo warning >&2; while :; do sleep 0.02; done".replace('\'', "\"");
    let line = format!(
        "run -d --name web --rootfs {root} --cidfile {cid} --pidfile {pid} --label tier=front -h web -e MODE=test -w /tmp --pids-limit 30 -- sh -c '{script}'"
    );
    let made = session.run(&line);
    must(made.code == 0 && made.out.trim() == std::fs::read_to_string(&cid)?, "its id", &made)?;
    session.says("ps --format name,state", "web\trunning\n")?;
    session.says(
        "ps --format id,pid,labels",
        &format!("{}\t{}\ttier=front\n", made.out.trim(), std::fs::read_to_string(&pid)?.trim()),
    )?;
    session.has("ps", "web")?;
    session.has("ps --format json", r#""name":"web""#)?;
    session.has("inspect web", r#""status":"running""#)?;
    session.has(&format!("inspect {}", &made.out[..8]), r#""name":"web""#)?;
    until("it is up", || nsctl(&["logs", "web"]).out == "up\n")?;
    session.says("logs web", "up\n")?;
    session.says("logs --tail all web", "up\n")?;
    session.has("logs -t web", "Z up\n")?;
    session.fails("run -d --name web -- true", 125, "has the name web already")
}

fn used(session: &mut Session, scratch: &Scratch) -> Result<(), Failed> {
    session.says("exec web hostname", "web\n")?;
    session.says("exec web sh -c 'echo $MODE $(pwd) $HOME'", "test /tmp /root\n")?;
    session.says("exec -e MODE=other -w / web sh -c 'echo $MODE $(pwd)'", "other /\n")?;
    session.says("exec -u 1000:1000 web id -u", "1000\n")?;
    session.fails("exec web sh -c 'exit 42'", 42, "")?;
    session.fails("exec web no-such-command", 127, "no-such-command")?;
    session.says("exec -d web sh -c 'echo written >/tmp/file'", "")?;
    until("it is written", || nsctl(&["exec", "web", "cat", "/tmp/file"]).out == "written\n")?;
    session.says("exec web cat /tmp/file", "written\n")?;
    session.steps += 1;
    let mut piped = command(&["exec", "-i", "web", "wc", "-c"]);
    let mut child = piped.stdin(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no pipe")?.write_all(&[b'x'; 5000])?;
    let output = child.wait_with_output()?;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "5000");
    let (there, back) = (scratch.file("there", "from the host\n"), scratch.path("back"));
    session.says(&format!("cp {there} web:/tmp/there"), "")?;
    session.says("exec web cat /tmp/there", "from the host\n")?;
    session.says(&format!("cp web:/tmp/file {back}"), "")?;
    assert_eq!(std::fs::read_to_string(&back)?, "written\n");
    session.says("pause web", "web\n")?;
    session.says("ps --format state", "paused\n")?;
    session.fails("exec web true", 1, "is paused")?;
    session.fails("pause web", 1, "is paused already")?;
    session.says("unpause web", "web\n")?;
    session.fails("unpause web", 1, "is not paused")?;
    session.says("exec web true", "")
}

fn stopped(session: &mut Session) -> Result<(), Failed> {
    session.fails("rm web", 1, "rm --force")?;
    let waiting = session.begin("wait web");
    let following = session.begin("logs -f web");
    session.says("stop web", "web\n")?;
    let waited = outcome(waiting);
    must(waited.out == "3\n", "wait", &waited)?;
    let followed = outcome(following);
    must(followed.out == "up\nbye\n" && followed.err == "warning\n", "logs -f", &followed)?;
    session.says("ps -q", "")?;
    session.says("ps -a --format name,state", "web\texited (3)\n")?;
    session.has("inspect web", r#""exit_code":3,"signal":null"#)?;
    session.fails("exec web true", 1, "does not run")?;
    session.has("cp web:/greeting -", "hello\n")?;
    session.fails("cp / web:/root", 1, "made anew at each start")?;
    session.fails("kill web", 1, "does not run")?;
    session.says("stop web", "web\n")?;
    session.says("start web", "web\n")?;
    session.says("start web", "web\n")?;
    until("it is up again", || nsctl(&["logs", "web"]).out.ends_with("bye\nup\n"))?;
    session.says("exec web sh -c 'echo $MODE; hostname; test ! -e /tmp/file'", "test\nweb\n")?;
    session.says("kill -s TERM web", "web\n")?;
    session.says("wait web", "3\n")?;
    session.says("restart web", "web\n")?;
    session.says("kill web", "web\n")?;
    session.says("wait web", "137\n")?;
    session.has("inspect web", r#""exit_code":137,"signal":9"#)
}

fn created(session: &mut Session, root: &str, scratch: &Scratch) -> Result<(), Failed> {
    let made = session.run(&format!("create --name job --rootfs {root} -- sh -c 'echo worked; exit 5'"));
    must(made.code == 0 && made.out.len() == 13, "create", &made)?;
    session.has("ps -a --format name,state", "job\tcreated\n")?;
    session.fails("exec job true", 1, "is not started")?;
    session.says("start job", "job\n")?;
    session.says("wait job", "5\n")?;
    session.says("logs job", "worked\n")?;
    session.says("rm job", "job\n")?;
    session.fails("inspect job", 1, "job")?;
    let made = session.run("create --name broken -- /no/such");
    must(made.code == 0, "create", &made)?;
    session.fails("start broken", 1, "/no/such")?;
    session.says("rm broken", "broken\n")?;
    session.fails("run -d -- /no/such", 127, "/no/such")?;
    let script = format!("until test -e {}; do sleep 0.02; done; exit 6", scratch.path("go"));
    let brief = session.run(&format!("run -d --rm --name brief -- sh -c '{script}'"));
    must(brief.code == 0, "run --rm", &brief)?;
    let waiting = session.begin("wait brief");
    until("it waits", || waiting.has_open("pidfd"))?;
    scratch.file("go", "");
    let waited = outcome(waiting);
    must(waited.code == 0 && waited.out == "6\n", "wait", &waited)?;
    until("it is gone", || !nsctl(&["ps", "-a"]).out.contains("brief"))
}

fn restarted(session: &mut Session) -> Result<(), Failed> {
    let made = session.run("run -d --name again --restart on-failure:2 -- sh -c 'echo try; exit 1'");
    must(made.code == 0, "run --restart", &made)?;
    session.says("wait again", "1\n")?;
    session.says("logs again", "try\ntry\ntry\n")?;
    session.has("inspect again", r#""restarts":2"#)?;
    let made = session.run("run -d --name ever --restart always -- sh -c 'exit 1'");
    must(made.code == 0, "run --restart", &made)?;
    session.says("stop ever", "ever\n")?;
    session.has("ps -a --format name,state", "ever\texited (1")?;
    session.says("rm again ever", "again\never\n")
}

/// What changes or watches one that runs.
fn changed(session: &mut Session) -> Result<(), Failed> {
    session.says("start web", "web\n")?;
    session.says("update --pids-limit 40 web", "web\n")?;
    session.has("top web", "sh")?;
    session.has("stats --no-stream web", "web")?;
    session.says("rename web shop", "")?;
    session.fails("exec web true", 1, "web")?;
    session.says("exec shop hostname", "web\n")?;
    session.says("rename shop web", "")?;
    session.has("events --since 1h --until 0s", "start")
}

/// How one is, what goes in and comes out of it, and that it goes.
fn watched(session: &mut Session, root: &str) -> Result<(), Failed> {
    let script = "while read line; do echo got $line; done; exit 7";
    let check = "--health-cmd 'test -e /tmp/well' --health-interval 50ms --health-retries 2";
    let line = format!("run -d -i --name ill --rootfs {root} -l kind=watched {check} -- sh -c '{script}'");
    let made = session.run(&line);
    must(made.code == 0, "run --health-cmd", &made)?;
    let shown = |state: &str| {
        let line = format!("ill\trunning ({state})\n");
        until(state, || nsctl(&["ps", "--format", "name,state"]).out.contains(&line))
    };
    shown("unhealthy")?;
    session.has("inspect ill", r#""health":{"status":"unhealthy","failing_streak":"#)?;
    session.says("exec ill touch /tmp/well", "")?;
    shown("healthy")?;
    session.has("ps --format json", r#""health":"healthy""#)?;
    session.has("inspect ill", r#""health":{"status":"healthy","failing_streak":0,"exit_code":0"#)?;
    // It is told after it is shown.
    let told = "events --since 1h --until 0s -f container=ill -f event=health_status";
    until("it is told", || session.run(told).out.contains("health=healthy"))?;
    session.steps += 1;
    let typed = with_input(&["attach", "ill"], "one\ntwo\n");
    must(typed.code == 7 && typed.out == "got one\ngot two\n", "attach, to the end of its input", &typed)?;
    session.fails("attach ill", 1, "does not run")?;
    session.has("inspect ill", r#""exit_code":7,"signal":null"#)?;
    session.says("logs ill", "got one\ngot two\n")?;
    session.says("prune -f --filter label=kind=other", "")?;
    session.fails("prune", 125, "no terminal to ask")?;
    session.says("prune -f --filter label=kind=watched", &made.out)?;
    session.fails("inspect ill", 1, "ill")
}

fn removed(session: &mut Session) -> Result<(), Failed> {
    session.says("rm -f web", "web\n")?;
    session.says("rm -f web", "")?;
    session.fails("rm web", 1, "web")?;
    for name in ["a", "b", "c"] {
        let made = session.run(&format!("run -d --name {name} -- sleep 600"));
        must(made.code == 0, "one of three", &made)?;
    }
    session.says("stop -t 0 a b", "a\nb\n")?;
    session.says("ps --format name", "c\n")?;
    let removed = session.run("rm --all --force");
    must(removed.code == 0 && removed.out.lines().count() == 3, "all three", &removed)?;
    session.says("ps -a -q", "")
}

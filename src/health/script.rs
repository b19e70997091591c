//! A check that runs a program on this machine. Its exit code decides: 0 passes, 1 warns, any other fails.

use std::process::Stdio;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::{Instant, timeout_at},
};

use super::report::Outcome;

/// Bytes of a program's output that are read at most; the rest is read and dropped.
const OUTPUT_BYTES_MAX: usize = 4096;

/// Runs a program without a shell and waits for its end; at the deadline it is killed.
pub(super) async fn run(
    args: &[Box<str>],
    deadline: Instant,
    chars_max: usize,
) -> (Outcome, String) {
    let Some((program, arguments)) = args.split_first() else {
        return (Outcome::Denied, "the check names no program".to_owned());
    };
    let mut command = Command::new(&**program);
    command
        .args(arguments.iter().map(|argument| &**argument))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return (Outcome::Failed, format!("can't run \"{program}\": {error}")),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let whole = async {
        let (out, err) = futures_util::join!(read(stdout), read(stderr));
        (child.wait().await, out, err)
    };
    match timeout_at(deadline, whole).await {
        Err(_) => (
            Outcome::TimedOut,
            format!("\"{program}\" did not end within the timeout"),
        ),
        Ok((Err(error), ..)) => (
            Outcome::Failed,
            format!("\"{program}\" can't be waited for: {error}"),
        ),
        Ok((Ok(status), out, err)) => {
            let outcome = match status.code() {
                Some(0) => Outcome::Passed,
                Some(1) => Outcome::Warned,
                _ => Outcome::Failed,
            };
            let said = [out, err].concat();
            let said = String::from_utf8_lossy(&said);
            let said: String = said.trim().chars().take(chars_max).collect();
            match said.is_empty() {
                true => (outcome, status.to_string()),
                false => (outcome, said),
            }
        }
    }
}

/// The beginning of what a program writes.
async fn read(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut from) = from else {
        return kept;
    };
    let mut piece = [0; 1024];
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..n.min(room)]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Outcome, run};

    #[tokio::test]
    async fn the_exit_code_decides() {
        for (script, outcome, says) in [
            ("echo fine", Outcome::Passed, "fine"),
            ("echo careful >&2; exit 1", Outcome::Warned, "careful"),
            ("exit 2", Outcome::Failed, "2"),
            ("sleep 60", Outcome::TimedOut, "timeout"),
            // More than a pipe holds.
            (
                "head -c 200000 /dev/zero | tr '\\0' x",
                Outcome::Passed,
                "xxx",
            ),
        ] {
            let args = ["sh", "-c", script].map(Into::into);
            let patience = match outcome {
                Outcome::TimedOut => Duration::from_millis(50),
                _ => Duration::from_secs(20),
            };
            let (found, text) = run(&args, Instant::now() + patience, 200).await;
            assert_eq!(found, outcome, "{script}: {text}");
            assert!(text.contains(says) && text.len() <= 200, "{script}: {text}");
        }
        let args = ["/no/such/program".into()];
        let (found, text) = run(&args, Instant::now() + Duration::from_secs(5), 200).await;
        assert_eq!(found, Outcome::Failed, "{text}");
    }
}

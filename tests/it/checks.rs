//! The gate with real check programs: the calling convention, every row of the verdict table, and that
//! nothing is left of a check whatever it does.

use std::{
    fs::{self, Permissions},
    num::NonZeroUsize,
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use virtcimd::checks::{
    Finding, Gate, GateError, GateRequest, Options, Phase, Severity, Source, Verdict, WhenMissing,
};

use crate::checks_support::{ENOUGH, LONG, Place, SHORT, install, run, runtime, timeouts};

/// One check named `check`, and the one message that is expected.
#[track_caller]
fn check(script: &str, expected: &str) {
    let place = Place::new();
    place.check("check", script);
    place.messages(&[expected]);
}

#[test]
fn a_check_that_says_yes_is_no_finding() {
    let place = Place::new();
    place.check("check", "echo fine; exit 0");
    place.each(|_, examination| {
        assert!(examination.report().passed());
        assert_eq!(examination.report().findings, []);
        assert_eq!(examination.programs[0].verdict, Verdict::Passed);
    });
}

#[test]
fn no_checks_are_no_findings() {
    Place::new().messages(&[]);
}

#[test]
fn every_status_has_its_verdict() {
    for status in [1, 2, 3, 125, 128, 137, 255] {
        check(
            &format!("exit {status}"),
            &format!("VMX001 error: Migration check `check' failed: exit status {status}"),
        );
    }
    check(
        "exit 126",
        "VMX002 error: Migration check `check' failed: exit status 126 (can't execute)",
    );
    check(
        "no-such-command",
        "VMX002 error: Migration check `check' failed: exit status 127 (command not found); it said: \
         ./checks/check: 3: no-such-command: not found",
    );
}

#[test]
fn the_reason_is_the_first_line_of_what_it_says() {
    let failed = "VMX001 error: Migration check `check' failed:";
    check("echo; echo ' no space '; echo more; exit 1", &format!("{failed} no space"));
    check("echo out >&2; exit 1", &format!("{failed} out"));
    check("echo err >&2; echo out; exit 1", &format!("{failed} out"));
    check(r"printf '\033[1mbold\007\n'; exit 1", &format!("{failed} [1mbold"));
    check(r"printf '%2000s\n' x | tr ' ' y; exit 1", &format!("{failed} {}", "y".repeat(1024)));
}

#[test]
fn every_deadly_signal_is_a_failure() {
    let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
    let stopping = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let deadly = (1..=31).filter(|s| !harmless.contains(s) && !stopping.contains(s));
    let place = Place::new();
    for signal in deadly.clone() {
        place.check(&format!("{signal:02}"), &format!("kill -{signal} $$; exit 0"));
    }
    place.each(|_, examination| {
        let expected: Vec<_> = deadly.clone().map(|signal| Verdict::Signalled { signal }).collect();
        let verdicts = examination.programs.iter().map(|outcome| outcome.verdict.clone());
        assert_eq!(verdicts.collect::<Vec<_>>(), expected);
        assert!(!examination.report().passed());
    });
    check(
        "echo about to crash; kill -SEGV $$",
        "VMX003 error: Migration check `check' failed: killed by signal 11 (SIGSEGV); it said: about \
         to crash",
    );
}

#[test]
fn what_can_not_be_executed_could_not_run() {
    let place = Place::new();
    install(&place.at("checks/1-bad-interpreter"), "#!/no/such/interpreter\n", 0o755);
    install(&place.at("checks/2-no-format"), "exit 0\n", 0o755);
    install(&place.at("checks/3-empty"), "", 0o755);
    let could_not = |name: &str, why: &str| {
        format!("VMX002 error: Migration check `{name}' failed: executing it failed: {why}")
    };
    place.messages(&[
        &could_not("1-bad-interpreter", "No such file or directory"),
        &could_not("2-no-format", "Exec format error"),
        &could_not("3-empty", "Exec format error"),
    ]);
}

#[test]
fn a_binary_is_run_by_its_descriptor() {
    let place = Place::new();
    fs::copy("/bin/true", place.at("checks/true")).unwrap();
    fs::copy("/bin/false", place.at("checks/false")).unwrap();
    place.messages(&["VMX001 error: Migration check `false' failed: exit status 1"]);
}

#[test]
fn a_check_that_ignores_term_is_killed_at_its_deadline() {
    for grace in [Duration::ZERO, SHORT] {
        let mut place = Place::new();
        place.options.timeout = SHORT;
        place.options.grace = grace;
        place.check("check", "trap '' TERM HUP INT; while :; do sleep 1; done");
        place.messages(&["VMX004 error: Migration check `check' failed: no answer within 300 ms"]);
    }
}

#[test]
fn a_pass_after_the_deadline_is_none() {
    let mut place = Place::new();
    place.options.timeout = ENOUGH;
    place.options.grace = LONG;
    place.check("check", "trap 'echo too late; exit 0' TERM; while :; do sleep 0.05; done");
    place.messages(&[
        "VMX004 error: Migration check `check' failed: no answer within 3 s; it said: too late",
    ]);
}

#[test]
fn each_check_may_have_its_own_deadline() {
    let mut place = Place::new();
    place.options.timeouts = timeouts("20-slow", SHORT);
    place.check("10-patient", "sleep 1").check("20-slow", "sleep 1000");
    place.messages(&["VMX004 error: Migration check `20-slow' failed: no answer within 300 ms"]);
}

#[test]
fn what_a_check_leaves_behind_is_killed_and_told() {
    check(
        "sleep 1000 & exit 0",
        "VMX012 warning: Migration check `check' left 1 process behind, which had to be killed",
    );
    let place = Place::new();
    fifo(&place, "detached");
    let detached = "trap \"\" TERM HUP; sleep 1000 & echo >\"$1\"; exec sleep 1000";
    let script =
        format!("setsid -f sh -c '{detached}' sh \"$OUT/detached\"; read x <\"$OUT/detached\"");
    place.check("check", &script);
    place.messages(&[
        "VMX012 warning: Migration check `check' left 2 processes behind, which had to be killed",
    ]);
}

#[test]
fn a_held_output_does_not_hold_the_verdict() {
    let place = Place::new();
    // The grandchild is in a session of its own and keeps both outputs.
    place.check("check", "echo the reason; setsid -f sleep 1000; exit 4");
    place.each(|_, examination| {
        let outcome = &examination.programs[0];
        assert_eq!(outcome.verdict, Verdict::Failed { status: 4 });
        assert_eq!(outcome.said.as_deref(), Some("the reason"));
        assert!(outcome.elapsed < LONG);
    });
}

#[test]
fn a_flood_of_output_is_no_hindrance() {
    let place = Place::new();
    place.check(
        "check",
        "echo first; head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; exit 5",
    );
    place.messages(&["VMX001 error: Migration check `check' failed: first"]);
}

#[test]
fn a_passing_check_may_warn() {
    check(
        "echo 'warning: link is slow'; exit 0",
        "VMX013 warning: Migration check `check' warns: link is slow",
    );
    let place = Place::new();
    place.check("check", "echo 'warning: link is slow'");
    place.each(|_, examination| assert!(examination.report().passed()));
}

#[test]
fn arguments_and_environment_are_the_contract() {
    let place = Place::new();
    place.check(
        "check",
        r#"printf '%s\n' "$0" "$@" >"$OUT/arguments"; env | sort >"$OUT/environment"
           { pwd; umask; readlink /proc/$$/fd/0; ls /proc/self/fd; } >"$OUT/surroundings""#,
    );
    let uuid = place.request().guest_uuid;
    place.each(|place, examination| {
        assert!(examination.report().passed(), "{examination:?}");
        let program = place.at("checks/check");
        let arguments = format!("{}\nweb1\nqemu:///system\n", program.display());
        assert_eq!(place.result("arguments"), arguments);
        let expected = format!(
            "LANG=C.UTF-8\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n\
             VIRTCIMD_DESTINATION_HOST=hostb\nVIRTCIMD_DESTINATION_URI=qemu+tls://hostb/system\n\
             VIRTCIMD_GUEST=web1\nVIRTCIMD_GUEST_UUID={uuid}\nVIRTCIMD_MIGRATION_TYPE=live\n\
             VIRTCIMD_PHASE=check\nVIRTCIMD_SOURCE_URI=qemu:///system\nVIRTCIMD_TIMEOUT=120\n\
             VIRTCIMD_TRANSPORT=tls\n"
        );
        assert_eq!(place.result("environment"), expected); // PWD is the shell's own
        let surroundings = place.result("surroundings");
        // 3 is the directory that ls reads, 10 the script that the shell reads.
        let descriptors: Vec<_> = surroundings.lines().skip(3).collect();
        assert!(surroundings.starts_with("/\n0077\n/dev/null\n0\n1\n2\n"), "{surroundings}");
        assert!(descriptors.len() <= 5, "{surroundings}");
    });
}

#[test]
fn the_phase_is_told() {
    let place = Place::new();
    place.check("check", "echo $VIRTCIMD_PHASE; exit 1");
    let request = GateRequest { phase: Phase::Migrate, ..place.request() };
    let examination = run(&place.gate(), request).unwrap();
    assert_eq!(examination.programs[0].said.as_deref(), Some("migrate"));
}

fn with_parameters(place: &Place, parameters: &[&str]) -> GateRequest {
    let parameters = parameters.iter().map(|entry| Some((*entry).to_owned())).collect();
    GateRequest { parameters: Some(parameters), ..place.request() }
}

#[test]
fn parameters_come_in_a_private_file() {
    let place = Place::new();
    place.check(
        "check",
        r#"[ "$3" = "$VIRTCIMD_PARAMETERS" ] && [ $# -eq 3 ] || exit 9
           stat -c %a "$3" >"$OUT/mode"; cat "$3" >"$OUT/text"; ls -l /proc/self/fd >"$OUT/fds""#,
    );
    let gate = place.gate();
    for (parameters, text) in [
        (vec![], ""),
        (vec!["a=b"], "a=b\n"),
        (
            vec!["a=b", "", "gr\u{fc}\u{df} 'x' $(id) \u{1f600}"],
            "a=b\n\ngr\u{fc}\u{df} 'x' $(id) \u{1f600}\n",
        ),
    ] {
        let examination = run(&gate, with_parameters(&place, &parameters)).unwrap();
        assert!(examination.report().passed(), "{examination:?}");
        assert_eq!(place.result("text"), text);
        assert_eq!(place.result("mode"), "400\n");
        place.assert_nothing_left();
    }
    let request =
        GateRequest { parameters: Some(vec![None, Some("x".into()), None]), ..place.request() };
    run(&gate, request).unwrap();
    assert_eq!(place.result("text"), "x\n");
}

#[test]
fn the_parameter_file_goes_however_a_check_ends() {
    let mut place = Place::new();
    place.options.timeout = SHORT;
    place.check("1-fails", "exit 1").check("2-dies", "kill -9 $$").check("3-hangs", "sleep 1000");
    let examination = run(&place.gate(), with_parameters(&place, &["x"])).unwrap();
    assert_eq!(examination.report().findings.len(), 3);
    place.assert_nothing_left();
}

#[test]
fn parameters_out_of_bounds_are_refused_before_anything_runs() {
    let place = Place::new();
    place.check("check", "touch \"$OUT/ran\"");
    let gate = place.gate();
    let long = "x".repeat(4097);
    let refused = |parameters: &[&str]| {
        let error = run(&gate, with_parameters(&place, parameters)).unwrap_err();
        assert_eq!(place.result("ran"), "");
        assert!(!place.at("out/ran").exists());
        error.to_string()
    };
    let cases = [
        (
            refused(&["ok", "a\nb=c"]),
            "CheckParameters[1]: character 2 is U+000A (line feed), line breaks \
          and control characters are not allowed",
        ),
        (
            refused(&["\0"]),
            "CheckParameters[0]: character 1 is U+0000 (NUL), line breaks and control \
          characters are not allowed",
        ),
        (refused(&[&long]), "CheckParameters[0]: it has 4097 bytes, at most 4096 are allowed"),
        (refused(&["x"; 257]), "CheckParameters: there are 257 entries, at most 256 are allowed"),
        (
            refused(&["y".repeat(4096).as_str(); 65]),
            "CheckParameters: the entries have 266240 bytes, at most \
          262144 are allowed",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    let examination = run(&gate, with_parameters(&place, &["x"; 256])).unwrap();
    assert!(examination.report().passed() && place.at("out/ran").exists());
}

#[test]
fn a_private_directory_that_can_not_be_had_fails_closed() {
    let mut place = Place::new();
    place.check("check", "touch \"$OUT/ran\"");
    fs::write(place.at("file"), "").unwrap();
    place.options.runtime_directory = place.at("file/run");
    let examination = run(&place.gate(), with_parameters(&place, &["x"])).unwrap();
    let report = examination.report();
    assert_eq!(report.headline().unwrap().code, "VMX010");
    assert!(!place.at("out/ran").exists());
}

#[test]
fn unsafe_checks_are_refused_by_name_and_never_run() {
    let place = Place::new();
    place.check("10-fine", "exit 0").check("20-unsafe", "touch \"$OUT/ran\"");
    fs::set_permissions(place.at("checks/20-unsafe"), Permissions::from_mode(0o775)).unwrap();
    place.messages(&["VMX005 error: Migration check `20-unsafe' failed: it is not safe to run: \
                      `./checks/20-unsafe' is writable by its group (mode 0775)"]);
    fs::set_permissions(place.at("checks/20-unsafe"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.at("checks"), Permissions::from_mode(0o777)).unwrap();
    let unsafe_directory =
        "it is not safe to run: `./checks' is writable by group and others (mode 0777)";
    place.messages(&[
        &format!("VMX005 error: Migration check `10-fine' failed: {unsafe_directory}"),
        &format!("VMX005 error: Migration check `20-unsafe' failed: {unsafe_directory}"),
    ]);
    assert!(!place.at("out/ran").exists());
}

#[test]
fn a_file_swapped_while_others_run_is_not_run() {
    let mut place = Place::new();
    place.options.parallel = NonZeroUsize::MIN;
    let swap = r#"cp -p "$OUT/../other" "$OUT/../checks/.new"; mv "$OUT/../checks/.new" "$OUT/../checks/20-swapped""#;
    for mode in [0o755, 0o757] {
        place.check("10-swaps", swap).check("20-swapped", "exit 0");
        install(&place.at("other"), "#!/bin/sh\ntouch \"${0%/checks/*}/out/ran\"\n", mode);
        let examination = run(&place.gate(), place.request()).unwrap();
        let code = if mode == 0o755 { "VMX008" } else { "VMX005" };
        let codes: Vec<_> = examination.report().findings.iter().map(|f| f.code.clone()).collect();
        assert_eq!(codes, [code], "{examination:?}");
        assert!(!place.at("out/ran").exists(), "the swapped file ran");
        place.assert_nothing_left();
    }
}

#[test]
fn a_check_that_replaces_itself_does_not_pass() {
    let place = Place::new();
    place.check("check", "cp \"$0\" \"$0.bak\"; mv \"$0.bak\" \"$0\"; exit 0");
    place.messages(&[
        "VMX008 error: Migration check `check' failed: the file was changed or replaced \
                      meanwhile",
    ]);
}

#[test]
fn a_vendors_check_is_masked_overridden_or_run() {
    let place = Place::new();
    for name in ["empty", "linked", "replaced", "vendors"] {
        install(&place.at("vendor").join(name), "#!/bin/sh\necho vendor; exit 1\n", 0o755);
    }
    fs::write(place.at("checks/empty"), "").unwrap();
    symlink("/dev/null", place.at("checks/linked")).unwrap();
    place.check("replaced", "echo admin; exit 1");
    place.messages(&[
        "VMX001 error: Migration check `replaced' failed: admin",
        "VMX001 error: Migration check `vendors' failed: vendor",
    ]);
}

#[test]
fn a_missing_directory_fails_unless_told_otherwise() {
    let mut place = Place::new();
    fs::remove_dir(place.at("checks")).unwrap();
    fs::remove_dir(place.at("vendor")).unwrap();
    let missing = "VMX006 error: Unable to execute migration checks:";
    place.messages(&[
        &format!("{missing} `./checks': the directory does not exist"),
        &format!("{missing} `./vendor': the directory does not exist"),
    ]);
    place.options.when_directory_missing = WhenMissing::Pass;
    place.messages(&[]);
    // What is there but can't be read fails in any case.
    fs::write(place.at("checks"), "").unwrap();
    for when in [WhenMissing::Fail, WhenMissing::Pass] {
        place.options.when_directory_missing = when;
        let report = run(&place.gate(), place.request()).unwrap().report();
        let headline = report.headline().unwrap();
        assert_eq!(headline.code, "VMX006");
        assert!(headline.message.ends_with("Not a directory"), "{}", headline.message);
    }
}

#[test]
fn findings_are_in_the_order_of_a_sequential_run() {
    let place = Place::new();
    // The later the name, the earlier it ends.
    for (index, name) in ["10", "20", "B", "a", "z"].iter().enumerate() {
        place.check(name, &format!("sleep 0.{}; exit 1", 8 - index));
    }
    let finding = Finding {
        code: "VMC001".into(),
        severity: Severity::Warning,
        source: Source::Builtin,
        subject: String::new(),
        message: "built in".into(),
        arguments: vec![],
        remedies: vec![],
    };
    let builtin = {
        let finding = finding.clone();
        move || vec![finding]
    };
    let mut options = place.options.clone();
    options.parallel = NonZeroUsize::new(5).unwrap();
    let gate = Gate::new(options).unwrap();
    let report = gate.run(place.request(), builtin, CancellationToken::new());
    let report = runtime().block_on(report).unwrap();
    assert_eq!(report.findings[0], finding);
    let sources: Vec<_> = report.findings[1..].iter().map(|finding| &finding.source).collect();
    let programs = ["10", "20", "B", "a", "z"].map(|name| Source::Program(name.into()));
    assert_eq!(sources, programs.iter().collect::<Vec<_>>());
    assert_eq!(report.headline().unwrap().message, "Migration check `10' failed: exit status 1");
}

#[test]
fn a_panic_of_the_built_in_checks_fails_closed() {
    let place = Place::new();
    let gate = place.gate();
    let report = gate.run(place.request(), || panic!("on purpose"), CancellationToken::new());
    let report = runtime().block_on(report).unwrap();
    assert_eq!(report.headline().unwrap().code, "VMX014");
}

/// A pipe with a name, to wait for a check's word and to have it wait for ours.
fn fifo(place: &Place, name: &str) -> std::path::PathBuf {
    let path = place.at("out").join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    path
}

#[test]
fn checks_of_a_request_run_side_by_side() {
    let mut place = Place::new();
    place.options.parallel = NonZeroUsize::new(2).unwrap();
    // Each can end only while the other runs.
    fifo(&place, "fifo");
    place.check("reads", "read word <\"$OUT/fifo\"").check("writes", "echo word >\"$OUT/fifo\"");
    place.messages(&[]);
}

#[test]
fn parallel_1_is_strictly_one_after_the_other() {
    let mut place = Place::new();
    place.options.parallel = NonZeroUsize::MIN;
    for name in ["1", "2", "3", "4"] {
        place.check(name, "mkdir \"$OUT/alone\" || exit 1; sleep 0.05; rmdir \"$OUT/alone\"");
    }
    place.messages(&[]);
}

#[test]
fn requests_queue_and_then_are_refused() {
    let mut place = Place::new();
    place.options.parallel_total = NonZeroUsize::MIN;
    place.options.queue = 1;
    let (started, go) = (fifo(&place, "started"), fifo(&place, "go"));
    place.check("check", "echo >\"$OUT/started\"; read word <\"$OUT/go\"");
    let gate = place.gate();
    let ask = || {
        let (gate, request) = (gate.clone(), place.request());
        async move { gate.run(request, Vec::new, CancellationToken::new()).await }
    };
    runtime().block_on(async {
        let first = tokio::spawn(ask());
        tokio::fs::read(&started).await.unwrap();
        let mut second = Box::pin(ask());
        let waits = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(waits.is_err(), "the second request waits in the queue");
        let third = ask().await;
        assert!(matches!(third, Err(GateError::Busy { limit: 1 })), "{third:?}");
        tokio::fs::write(&go, "go\n").await.unwrap();
        assert!(first.await.unwrap().unwrap().passed());
        let second = tokio::spawn(second);
        tokio::fs::read(&started).await.unwrap();
        tokio::fs::write(&go, "go\n").await.unwrap();
        assert!(second.await.unwrap().unwrap().passed());
    });
    place.assert_nothing_left();
}

#[test]
fn two_hundred_requests_at_once_are_served() {
    let mut place = Place::new();
    place.options.parallel_total = NonZeroUsize::new(200).unwrap();
    place.check("1", "echo x >>\"$OUT/count\"").check("2", "exit 1");
    let gate = place.gate();
    let runtime = runtime();
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let (gate, request) = (gate.clone(), with_parameters(&place, &["x"]));
            runtime
                .spawn(async move { gate.run(request, Vec::new, CancellationToken::new()).await })
        })
        .collect();
    runtime.block_on(async {
        for request in requests {
            let report = request.await.unwrap().unwrap();
            let codes: Vec<_> =
                report.findings.iter().map(|finding| finding.code.clone()).collect();
            assert_eq!(codes, ["VMX001"], "{report:?}");
        }
    });
    assert_eq!(place.result("count").lines().count(), 200);
    place.assert_nothing_left();
}

#[test]
fn cancelling_kills_what_runs_and_starts_nothing_more() {
    let mut place = Place::new();
    place.options.parallel = NonZeroUsize::MIN;
    let started = fifo(&place, "started");
    place.check("1", "setsid -f sleep 1000; echo >\"$OUT/started\"; sleep 1000");
    place.check("2", "touch \"$OUT/ran\"");
    let gate = place.gate();
    let cancelled = CancellationToken::new();
    let token = cancelled.clone();
    let request = with_parameters(&place, &["x"]);
    let result = runtime().block_on(async move {
        let run = tokio::spawn(async move { gate.run(request, Vec::new, token).await });
        tokio::fs::read(&started).await.unwrap();
        cancelled.cancel();
        run.await.unwrap()
    });
    assert!(matches!(result, Err(GateError::Cancelled)), "{result:?}");
    assert!(!place.at("out/ran").exists());
    place.assert_nothing_left();
}

#[test]
fn a_run_that_is_cancelled_already_runs_nothing() {
    let place = Place::new();
    place.check("check", "touch \"$OUT/ran\"");
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let gate = place.gate();
    let result = runtime().block_on(gate.run(place.request(), Vec::new, cancelled));
    assert!(matches!(result, Err(GateError::Cancelled)), "{result:?}");
    assert!(!place.at("out/ran").exists());
}

#[test]
fn a_dropped_run_kills_what_runs() {
    let place = Place::new();
    let started = fifo(&place, "started");
    place.check("1", "echo >\"$OUT/started\"; sleep 1000");
    let gate = place.gate();
    let request = with_parameters(&place, &["x"]);
    let runtime = runtime();
    runtime.block_on(async move {
        let run =
            tokio::spawn(
                async move { gate.run(request, Vec::new, CancellationToken::new()).await },
            );
        tokio::fs::read(&started).await.unwrap();
        run.abort();
    });
    drop(runtime); // waits for blocking threads, so for the supervision
    place.assert_nothing_left();
}

#[test]
fn a_check_may_ask_the_gate() {
    // A gate that one check fills up, while that check asks it for another guest.
    let mut place = Place::new();
    place.options.parallel = NonZeroUsize::MIN;
    place.options.parallel_total = NonZeroUsize::new(2).unwrap();
    let (question, answer) = (fifo(&place, "question"), fifo(&place, "answer"));
    place.check(
        "check",
        "[ $VIRTCIMD_GUEST = inner ] && exit 0; echo >\"$OUT/question\"; read a <\"$OUT/answer\"; \
         [ \"$a\" = yes ]",
    );
    let gate = place.gate();
    let report = runtime().block_on(async {
        let outer = tokio::spawn({
            let (gate, request) = (gate.clone(), place.request());
            async move { gate.run(request, Vec::new, CancellationToken::new()).await }
        });
        tokio::fs::read(&question).await.unwrap();
        let inner = GateRequest { guest: "inner".into(), ..place.request() };
        let inner = gate.run(inner, Vec::new, CancellationToken::new()).await.unwrap();
        let word = if inner.passed() { "yes\n" } else { "no\n" };
        tokio::fs::write(&answer, word).await.unwrap();
        outer.await.unwrap().unwrap()
    });
    assert!(report.passed(), "{report:?}");
    place.assert_nothing_left();
}

#[test]
fn a_reload_changes_the_settings_of_later_runs() {
    let place = Place::new();
    place.check("check", "exit 1");
    let gate = place.gate();
    assert!(!run(&gate, place.request()).unwrap().report().passed());
    let options = Options { directory: place.at("vendor"), ..place.options.clone() };
    let gate = gate.reconfigured(options).unwrap();
    assert!(run(&gate, place.request()).unwrap().report().passed());
}

#[test]
fn an_unknown_user_is_no_gate() {
    let mut place = Place::new();
    place.options.user = Some("no-such-user".into());
    let error = Gate::new(place.options.clone()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "there is no user `no-such-user'");
}

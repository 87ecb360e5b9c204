//! The example checks of `config/checks` pass and refuse under real conditions: libvirt's test driver,
//! real files, real sockets. They are run as the gate runs them: arguments, environment, nothing else.

use std::{
    fs,
    io::Write,
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

/// One run of an example check.
struct Run {
    directory: tempfile::TempDir,
    program: PathBuf,
    source: String,
    parameters: Option<&'static str>,
    environment: Vec<(&'static str, String)>,
}

impl Run {
    /// The example as shipped.
    fn of(name: &str) -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/checks").join(name);
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join(name);
        fs::copy(shipped, &program).expect("the example is there");
        let source = "test:///default".to_owned();
        Self { directory, program, source, parameters: None, environment: Vec::new() }
    }

    /// With a setting at its head changed, as administrators are told to.
    #[track_caller]
    fn set(self, setting: &str, value: impl std::fmt::Display) -> Self {
        let text = fs::read_to_string(&self.program).expect("text");
        let line = text.lines().find(|line| line.starts_with(&format!("{setting} = ")));
        let line = line.expect("the example has the setting");
        fs::write(&self.program, text.replacen(line, &format!("{setting} = {value}"), 1))
            .expect("written");
        self
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    fn parameters(self, lines: &'static str) -> Self {
        Self { parameters: Some(lines), ..self }
    }

    /// With one guest `g` of this memory and these further elements, on libvirt's test driver.
    fn guest(mut self, memory_kib: u64, elements: &str) -> Self {
        let xml = format!(
            "<node><domain type='test'><name>g</name><memory unit='KiB'>{memory_kib}</memory>\
             <os><type>hvm</type></os>{elements}</domain></node>"
        );
        let file = self.directory.path().join("node.xml");
        fs::write(&file, xml).expect("written");
        self.source = format!("test://{}", file.display());
        self
    }

    /// Exit code and first line.
    #[track_caller]
    fn check(self, code: i32, reason: &str) {
        fs::set_permissions(&self.program, fs::Permissions::from_mode(0o755)).expect("permissions");
        let mut command = Command::new(&self.program);
        command.args(["g", &self.source]).current_dir("/").stdin(Stdio::null()).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(lines) = self.parameters {
            let file = self.directory.path().join("parameters");
            fs::File::create(&file)
                .and_then(|mut file| file.write_all(lines.as_bytes()))
                .expect("written");
            command.arg(file);
        }
        let done = command.output().expect("the example runs");
        let (out, err) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let said = out.lines().chain(err.lines()).next().unwrap_or_default();
        assert_eq!(done.status.code(), Some(code), "said {said:?}");
        assert!(said.contains(reason), "said {said:?}, not {reason:?}");
    }
}

#[test]
fn the_maintenance_window_is_open_or_not() {
    let run = || Run::of("10-maintenance-window");
    run().check(0, "");
    run().parameters("other=1\n").check(0, "");
    run().set("REQUIRED", "True").check(1, "name a maintenance window");
    let always = "maintenance-window=mon,Tue,Wed,Thu,Fri,Sat,Sun 00:00-24:00\n";
    run().parameters(always).check(0, "");
    run()
        .parameters("maintenance-window=22:00\n")
        .check(1, "is not understood: it is written like");
    run().parameters("maintenance-window=Foo 00:00-23:59\n").check(1, "`foo` is no day");
    let empty = "maintenance-window=04:00-04:00\n";
    run().parameters(empty).check(1, "`04:00-04:00` is not understood: it ends when it begins");
    // Of several, the last counts.
    let never = "maintenance-window=00:00-24:00\nmaintenance-window=x\n";
    run().parameters(never).check(1, "`x` is not understood");
}

/// The window is tried at fixed times, without waiting for them.
#[test]
fn windows_across_midnight_belong_to_the_day_they_begin_on() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/checks/10-maintenance-window");
    let script = "import importlib.machinery, importlib.util, sys, datetime
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader('check', sys.argv[1])
check = importlib.util.module_from_spec(importlib.util.spec_from_loader('check', loader))
loader.exec_module(check)
at = lambda day, hour: check.is_open('Sat 22:00-06:00', datetime.datetime(2026, 11, day, hour))
print(*(int(at(day, hour)) for day, hour in [(21, 21), (21, 22), (22, 5), (22, 6), (22, 22), (21, 5)]))";
    // 2026-11-21 is a Saturday.
    let done =
        Command::new("/usr/bin/python3").arg("-c").arg(script).arg(shipped).output().expect("runs");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "0 1 1 0 0 0", "{done:?}");
}

#[test]
fn disks_lie_in_shared_directories_or_not() {
    let images = tempfile::tempdir().expect("a directory");
    let disk = images.path().join("a/b/disk.img");
    let elements = format!(
        "<devices><disk type='file' device='disk'><source file='{}'/><target dev='vda'/></disk>\
         <disk type='file' device='cdrom'><source file='/nowhere/x.iso'/><target dev='hda'/></disk></devices>",
        disk.display()
    );
    let run = |destination: &str| {
        let run = Run::of("20-shared-storage").guest(1024, &elements);
        run.with("VIRTCIMD_DESTINATION_HOST", destination)
    };
    run("hostb").check(1, "is in no directory that is marked as shared");
    run("hostb").set("EXEMPT", "{'g'}").check(0, "");
    fs::write(images.path().join(".shared-with"), "HostB # the other one\n").expect("written");
    run("hostb").check(0, "");
    run("hostc").check(1, "is not shared with hostc");
    fs::create_dir_all(disk.parent().expect("a directory")).expect("made");
    fs::write(images.path().join("a/.shared-with"), "*\n").expect("written");
    run("hostc").check(0, "");
    let mut gone = run("hostb");
    gone.source = "test:///nowhere.xml".to_owned();
    gone.check(1, "cannot read the guest's definition");
}

#[test]
fn huge_pages_are_enough_or_not() {
    let huge =
        "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>";
    let run = |memory, elements| {
        let run = Run::of("30-free-hugepages").guest(memory, elements);
        run.with("VIRTCIMD_DESTINATION_URI", "test:///default")
    };
    run(1 << 40, "").check(0, "");
    run(8192, huge).check(0, "");
    run(1 << 40, huge).check(1, "the guest needs 536870912 free huge pages of 2048 KiB");
    run(8192, huge)
        .with("VIRTCIMD_DESTINATION_URI", "test:///nowhere.xml")
        .check(1, "cannot ask the destination");
    Run::of("30-free-hugepages").guest(8192, huge).check(2, "this check needs virtcimd");
}

/// Answers one request for the time, `ahead` seconds ahead, at the stratum given.
fn time_server(ahead: f64, stratum: u8) -> (u16, std::thread::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let serve = move || {
        let mut request = [0; 64];
        let (length, client) = socket.recv_from(&mut request).expect("a request");
        assert_eq!((length, request[0]), (48, 0x23), "an SNTP request");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let ntp = now + ahead + 2_208_988_800.0;
        let mut answer = [0; 48];
        (answer[0], answer[1]) = (0x24, stratum);
        for field in [32, 40] {
            answer[field..field + 4].copy_from_slice(&(ntp as u32).to_be_bytes());
            answer[field + 4..field + 8]
                .copy_from_slice(&((ntp.fract() * 4_294_967_296.0) as u32).to_be_bytes());
        }
        socket.send_to(&answer, client).expect("sent");
    };
    (port, std::thread::spawn(serve))
}

#[test]
fn clocks_agree_or_not() {
    let check = |ahead, stratum, code, reason| {
        let (port, server) = time_server(ahead, stratum);
        let run = Run::of("40-clock-difference").set("PORT", port).set("TOLERANCE", 30);
        run.with("VIRTCIMD_DESTINATION_HOST", "127.0.0.1").check(code, reason);
        server.join().expect("it was asked");
    };
    check(0.0, 2, 0, "");
    check(3600.0, 2, 1, "the clock of 127.0.0.1 is +3");
    check(-3600.0, 2, 1, "is -3");
    check(0.0, 0, 1, "its clock is not synchronised");
    Run::of("40-clock-difference").check(1, "this check needs virtcimd");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let run = Run::of("40-clock-difference").set("PORT", port).set("PATIENCE", 0.05);
    run.with("VIRTCIMD_DESTINATION_HOST", "127.0.0.1")
        .check(1, "cannot ask 127.0.0.1 for its time");
}

#[test]
fn ports_answer_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let closed =
        TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let run = |control, data| {
        let run = Run::of("50-port-reachable")
            .set("CONTROL", format!("{{'tcp': {control}}}"))
            .set("DATA", data);
        run.with("VIRTCIMD_DESTINATION_HOST", "127.0.0.1").with("VIRTCIMD_TRANSPORT", "tcp")
    };
    run(port, port).check(0, "");
    // A refused connection shows that the packet arrived.
    run(port, closed).check(0, "");
    run(closed, port).check(1, &format!("libvirt of 127.0.0.1 cannot be reached at port {closed}"));
    // The unix transport has no port of libvirt's.
    run(closed, port).with("VIRTCIMD_TRANSPORT", "unix").check(0, "");
    Run::of("50-port-reachable").check(1, "this check needs virtcimd");
    let unknown = Run::of("50-port-reachable").with("VIRTCIMD_TRANSPORT", "tcp");
    unknown
        .with("VIRTCIMD_DESTINATION_HOST", "host.invalid")
        .check(1, "libvirt of host.invalid cannot be reached");
}

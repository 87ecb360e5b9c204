//! Disks: what is copied, what is there, and room for it.

use super::*;

#[test]
fn disks_that_are_not_copied() {
    let volume = "<disk type='volume'><source pool='images' volume='a'/><target dev='vda'/></disk>";
    let bench = Bench::with_devices(volume);
    let missing = "Disk vda is in pool images, which does not exist at the destination.";
    bench.finds(&[&format!("VMC005 e {missing}")]);
    Bench::with_devices(volume).moving(Movement::Offline).finds(&[&format!("VMC005 w {missing}")]);
    let mut pool = StoragePool {
        name: "images".to_owned(),
        kind: "rbd".to_owned(),
        active: false,
        available: 0,
    };
    bench.destination.add_pool("/x", pool.clone());
    bench.finds(&["VMC005 e Disk vda is in pool images, which is not active at the destination."]);
    pool.active = true;
    bench.destination.add_pool("/x", pool);
    bench.finds(&[]);
}

#[test]
fn storage_of_the_source_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, "").unwrap();
    let path = path.to_str().unwrap();
    let disk = |more: &str| {
        format!("<disk device='disk'><source file='{path}'/><target dev='vda'/>{more}</disk>")
    };
    let qemu = |xml: &str| {
        let bench = Bench::with_devices(xml);
        bench.source.edit_host(|host| {
            (host.driver, host.uri) = ("QEMU".to_owned(), "qemu:///system".to_owned());
        });
        bench.destination.edit_host(|host| host.driver = "QEMU".to_owned());
        bench
    };
    let message = format!("Disk vda is on storage of the source alone: {path}.");
    qemu(&disk("")).finds(&[&format!("VMC006 e {message}")]);
    qemu(&disk("")).moving(Movement::Restart).finds(&[&format!("VMC006 w {message}")]);
    qemu(&disk("<readonly/>")).finds(&[]);
    qemu(&disk("").replace("'disk'", "'cdrom'")).finds(&[]);
    qemu("<disk device='disk'><source file='/nonexistent/x'/><target dev='vda'/></disk>")
        .finds(&[]);
    qemu("<disk type='block'><source dev='/dev/null'/><target dev='vda'/></disk>").finds(&[]);
    qemu("<disk type='nvme'><source type='pci'/><target dev='vda'/></disk>")
        .finds(&["VMC006 e Disk vda is an NVMe device of the source."]);
    // What another host has can't be looked at.
    let remote = qemu(&disk(""));
    remote.source.edit_host(|host| host.uri = "qemu+tcp://a/system".to_owned());
    remote.finds(&[]);
}

#[test]
fn disks_that_are_copied() {
    let disk = "<disk><source file='/images/a.img'/><target dev='vda'/></disk>\
                <disk><source file='/images/b.img'/><target dev='vdb'/><shareable/></disk>";
    let bench = Bench::with_devices(disk).copying(&[]);
    bench.finds(&["VMC005 e The destination has no active pool over /images for disk vda."]);
    Bench::with_devices(disk).copying(&["vdb", "vdz"]).finds(&[
        "VMC005 e The guest has no disk vdz to copy.",
        "VMC005 e The destination has no active pool over /images for disk vdb.",
    ]);
}

#[test]
fn room_for_the_copies() {
    let bench = Bench::with_devices(
        "<disk><source file='/images/a.img'/><target dev='vda'/></disk>\
         <disk><source file='/images/b.img'/><target dev='vdb'/></disk>",
    )
    .copying(&[]);
    let pool = |available| StoragePool {
        name: "images".to_owned(),
        kind: "dir".to_owned(),
        active: true,
        available,
    };
    let volume = || Volume { pool: "images".to_owned(), capacity: 3 << 20 };
    for path in ["/images/a.img", "/images/b.img"] {
        bench.source.add_volume(path, volume());
    }
    bench.destination.add_pool("/images", pool(6 << 20));
    bench.finds(&[]);
    bench.destination.add_pool("/images", pool(5 << 20));
    bench.finds(&[
        "VMC014 e The copied disks need 6 MiB in pool images; the destination has 5 MiB there.",
    ]);
    // One that is there already takes no more room, but loses what is in it.
    bench.destination.add_volume("/images/a.img", volume());
    bench.finds(&[
        "VMC005 w The destination has /images/a.img already: disk vda is copied over it.",
    ]);
}

#[test]
fn images_for_incremental_copies() {
    let disk = "<disk><source file='/images/a.img'/><target dev='vda'/></disk>";
    let mut bench = Bench::with_devices(disk).copying(&[]);
    bench.inputs.storage = StorageCopy::Incremental;
    bench.finds(&[
        "VMC005 e The destination has no image /images/a.img, into which disk vda could be copied \
         incrementally.",
    ]);
    let volume = Volume { pool: "images".to_owned(), capacity: 3 << 20 };
    bench.destination.add_volume("/images/a.img", volume);
    bench.finds(&[]);
}

#[test]
fn a_disk_is_looked_for_where_it_will_be() {
    let disk = "<disk><source file='/old/a.img'/><target dev='vda'/></disk>";
    let pool = |available| StoragePool {
        name: "images".to_owned(),
        kind: "dir".to_owned(),
        active: true,
        available,
    };
    let volume = || Volume { pool: "images".to_owned(), capacity: 3 << 20 };
    let bench = Bench::with_devices(disk).changing("/old/a.img", "/new/b.img");
    // Nobody knows what is in a directory without a pool.
    bench.finds(&[]);
    bench.destination.add_pool("/new", pool(0));
    let missing = "The destination's pool images does not show /new/b.img for disk vda.";
    bench.finds(&[&format!("VMC005 w {missing}")]);
    bench.destination.add_volume("/new/b.img", volume());
    bench.finds(&[]);
    let bench = Bench::with_devices(disk).changing("/old/a.img", "/new/b.img").copying(&[]);
    bench.source.add_volume("/old/a.img", volume());
    bench.destination.add_pool("/new", pool(2 << 20));
    bench.finds(&[
        "VMC014 e The copied disks need 3 MiB in pool images; the destination has 2 MiB there.",
    ]);
}

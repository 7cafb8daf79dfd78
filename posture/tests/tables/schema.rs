//! Every table's columns and where their values come from.

use std::io::ErrorKind;

use posture::{Machine, Ownership, QueryEngine, QueryError, ScreenLock, Tables};

use crate::tree::Tree;

#[test]
fn tables_and_columns_are_named_as_osquery_names_them() {
    let schema: Vec<(&str, String)> = Tables::schema()
        .map(|(table, columns)| (table, columns.join(" ")))
        .collect();

    let expected = [
        (
            "users",
            "uid gid uid_signed gid_signed username description directory shell uuid",
        ),
        (
            "block_devices",
            "name parent vendor model size block_size uuid type label",
        ),
        (
            "disk_encryption",
            "name uuid encrypted type encryption_status uid user_uuid filevault_status",
        ),
        ("augeas", "node value label path"),
        (
            "file",
            "path directory filename uid gid mode size mtime symlink type",
        ),
        ("mounts", "device device_alias path type flags"),
        (
            "processes",
            "pid name path cmdline state uid gid euid egid on_disk resident_size total_size \
             start_time parent pgroup threads nice",
        ),
        ("screenlock", "enabled grace_period"),
        ("kernel_info", "version arguments path device"),
        (
            "os_version",
            "name version major minor patch build platform platform_like codename arch extra",
        ),
        ("secureboot", "secure_boot setup_mode"),
        (
            "system_info",
            "hostname uuid cpu_brand cpu_logical_cores physical_memory hardware_vendor \
             hardware_model hardware_version hardware_serial computer_name local_hostname",
        ),
        ("uptime", "days hours minutes seconds total_seconds"),
        (
            "systemd_units",
            "id load_state active_state sub_state fragment_path unit_file_state",
        ),
    ];
    assert_eq!(
        schema,
        expected.map(|(table, columns)| (table, columns.to_owned()))
    );
}

#[test]
fn every_column_can_be_selected_from_an_empty_machine_without_inventing_a_row() {
    let tree = Tree::empty();
    let mut tables = tree.tables();
    for (table, columns) in Tables::schema() {
        let condition = if columns.contains(&"path") {
            "WHERE path = '/etc/ufw/ufw.conf'"
        } else {
            ""
        };
        let sql = format!("SELECT {} FROM {table} {condition}", columns.join(", "));

        assert_eq!(tables.query(&sql), Ok(vec![]), "{sql}");
    }
}

#[test]
fn processes_are_read_from_proc() {
    let tree = Tree::empty()
        .file("/proc/stat", "cpu 1\nbtime 1000\n")
        .process(7, "a) (b", 1, 1000)
        .file("/proc/7/cmdline", "a\0-x\0y\0")
        .link("/proc/7/exe", "/opt/a (deleted)")
        .process(8, "c", 7, 0)
        .file("/proc/9/stat", "garbage")
        .directory("/proc/10");

    let rows = tree.query("SELECT * FROM processes ORDER BY pid").unwrap();

    let shown: Vec<_> = rows[0]
        .values()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        shown,
        [
            ("cmdline", "a -x y"),
            ("egid", "8"),
            ("euid", "1000"),
            ("gid", "7"),
            ("name", "a) (b"),
            ("nice", "0"),
            ("on_disk", "0"),
            ("parent", "1"),
            ("path", "/opt/a"),
            ("pgroup", "7"),
            ("pid", "7"),
            ("resident_size", "4096"),
            ("start_time", "1005"),
            ("state", "S"),
            ("threads", "3"),
            ("uid", "1000"),
        ]
    );
    assert_eq!(rows[1].value("on_disk"), Some("-1"));
}

#[test]
fn seeking_a_value_finds_what_reading_all_finds() {
    let tree = Tree::laptop()
        .process(70, "Alpha", 1, 0)
        .process(71, "beta", 70, 0);
    for (sql, found) in [
        ("SELECT pid FROM processes WHERE pid = 70", "70"),
        ("SELECT pid FROM processes WHERE pid = '70'", "70"),
        ("SELECT pid FROM processes WHERE +pid = 70", "70"),
        ("SELECT pid FROM processes WHERE name = 'Alpha'", "70"),
        (
            "SELECT pid FROM processes WHERE name = 'alpha' COLLATE NOCASE",
            "70",
        ),
        (
            "SELECT pid FROM processes WHERE name = 'Alpha' AND pid IN (1, 70, 71)",
            "70",
        ),
        ("SELECT count(*) FROM processes WHERE name = 'alpha'", "0"),
        (
            "SELECT count(*) FROM processes WHERE pid = NULL OR pid = 'x' OR pid = 70.5",
            "0",
        ),
        (
            "SELECT c.pid FROM processes p JOIN processes c ON c.parent = p.pid WHERE p.name = 'Alpha'",
            "71",
        ),
        (
            "SELECT p.name FROM processes c JOIN processes p ON p.pid = c.parent WHERE c.pid = 71",
            "Alpha",
        ),
    ] {
        assert_eq!(tree.value(sql), found, "{sql}");
    }
}

#[test]
fn the_operating_system_is_read_from_os_release() {
    let tree = Tree::empty()
        .file(
            "/usr/lib/os-release",
            "NAME=\"Ubuntu\"\nVERSION='24.04.1 LTS (Noble Numbat)'\nVERSION_ID=\"24.04\"\nID=ubuntu\n\
             ID_LIKE=debian\nVERSION_CODENAME=noble\n",
        )
        .file("/proc/sys/kernel/arch", "x86_64\n");

    let rows = tree
        .query("SELECT * FROM os_version WHERE major = 24 AND minor = '4'")
        .unwrap();

    for (column, value) in [
        ("name", "Ubuntu"),
        ("version", "24.04.1 LTS (Noble Numbat)"),
        ("major", "24"),
        ("minor", "4"),
        ("patch", "0"),
        ("build", ""),
        ("platform", "ubuntu"),
        ("platform_like", "debian"),
        ("codename", "noble"),
        ("arch", "x86_64"),
    ] {
        assert_eq!(rows[0].value(column), Some(value), "{column}");
    }
}

#[test]
fn the_machine_is_read_from_proc_and_sys() {
    let variable = |name: &str| {
        format!("/sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c")
    };
    let tree = Tree::empty()
        .file("/proc/uptime", "93784.99 1.0\n")
        .file("/proc/sys/kernel/osrelease", "6.1.0\n")
        .file(
            "/proc/cmdline",
            "BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet\n",
        )
        .file("/proc/sys/kernel/hostname", "desk\n")
        .file(
            "/proc/cpuinfo",
            "processor\t: 0\nmodel name\t: A CPU\n\nprocessor\t: 1\n",
        )
        .file("/proc/meminfo", "MemTotal:       1024 kB\n")
        .file("/sys/class/dmi/id/sys_vendor", "Maker\n")
        .file(&variable("SecureBoot"), [6, 0, 0, 0, 1])
        .file(&variable("SetupMode"), [6, 0, 0, 0, 0])
        .file(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nbroken:x:1\nn:x:4294967294:1::/:/x\n",
        );

    for (sql, value) in [
        (
            "SELECT days || ' ' || hours || ' ' || minutes || ' ' || seconds || ' ' || total_seconds FROM uptime",
            "1 2 3 4 93784",
        ),
        (
            "SELECT version || '|' || arguments || '|' || path || '|' || device FROM kernel_info",
            "6.1.0|quiet|/vmlinuz|/dev/sda1",
        ),
        (
            "SELECT hostname || cpu_brand || cpu_logical_cores || physical_memory || hardware_vendor FROM system_info",
            "deskA CPU21048576Maker",
        ),
        (
            "SELECT secure_boot || ' ' || setup_mode FROM secureboot",
            "1 0",
        ),
        (
            "SELECT group_concat(username || ':' || uid_signed) FROM users",
            "root:0,n:-2",
        ),
        ("SELECT directory FROM users WHERE uid = 0", "/root"),
    ] {
        assert_eq!(tree.value(sql), value, "{sql}");
    }
}

#[test]
fn units_are_active_while_systemd_keeps_their_invocation() {
    let tree = Tree::laptop()
        .active("a.service")
        .file("/usr/lib/systemd/system/a.service", "")
        .file("/sys/fs/cgroup/system.slice/cgroup.events", "populated 1\n")
        .file(
            "/sys/fs/cgroup/system.slice/a.service/cgroup.events",
            "populated 1\nfrozen 0\n",
        )
        .link(
            "/etc/systemd/system/multi-user.target.wants/b.service",
            "/usr/lib/systemd/system/b.service",
        )
        .active("c.service")
        .link("/etc/systemd/system/c.service", "/dev/null");

    let show = |id: &str| {
        tree.value(&format!(
            "SELECT load_state || '|' || active_state || '|' || sub_state || '|' || unit_file_state || '|' \
             || fragment_path FROM systemd_units WHERE id = '{id}'"
        ))
    };

    assert_eq!(
        show("a.service"),
        "loaded|active|running||/usr/lib/systemd/system/a.service"
    );
    assert_eq!(show("b.service"), "|inactive|dead|enabled|");
    assert!(show("c.service").starts_with("masked|active|exited|masked|"));
}

#[test]
fn files_are_looked_at_one_by_one() {
    let tree = Tree::empty()
        .file("/etc/a", "xyz")
        .directory("/b")
        .link("/l", "etc/a");

    for (sql, value) in [
        (
            "SELECT directory || filename || size || type || symlink FROM file WHERE path = '/etc/a'",
            "/etca3regular0",
        ),
        (
            "SELECT type || directory FROM file WHERE path = '/b'",
            "directory/",
        ),
        ("SELECT symlink || size FROM file WHERE path = '/l'", "13"),
        (
            "SELECT mtime > 1700000000 FROM file WHERE path = '/etc/a'",
            "1",
        ),
        (
            "SELECT group_concat(path) FROM file WHERE path IN ('/etc/a', '/none', '/b')",
            "/b,/etc/a",
        ),
        ("SELECT count(*) FROM file WHERE path = 'etc/a'", "0"),
        ("SELECT count(*) FROM file WHERE path = '/etc/a/below'", "0"),
    ] {
        assert_eq!(tree.value(sql), value, "{sql}");
    }
    assert!(matches!(
        tree.query("SELECT * FROM file"),
        Err(QueryError::Invalid { .. })
    ));
    assert!(
        tree.query("SELECT 1 FROM file WHERE path LIKE '/etc/%'")
            .is_err()
    );
}

#[test]
fn owners_are_unknown_unless_the_system_tells_them() {
    let tree = Tree::empty().file("/a", "");
    let sql = "SELECT uid || ' ' || gid || ' ' || mode AS owned FROM file WHERE path = '/a'";
    let machine = Machine::rooted_at(tree.path()).with_ownership(|_| Ownership {
        uid: 3,
        gid: 4,
        mode: 0o100_640,
    });

    let owned = Tables::open(machine).unwrap().query(sql).unwrap();

    assert!(matches!(
        tree.query(sql),
        Err(QueryError::Unreadable { .. })
    ));
    assert_eq!(owned[0].value("owned"), Some("3 4 0640"));
}

#[test]
fn settings_come_only_from_files_that_hold_no_secrets() {
    let tree = Tree::empty()
        .file("/etc/default/grub", "A=1\n#B=2\nC=\"x y\"\n")
        .file("/etc/secret", "KEY=hunter2\n");

    let found = tree.value(
        "SELECT group_concat(label || '=' || value) FROM augeas WHERE path = '/etc/default/grub'",
    );

    assert_eq!(found, "A=1,C=x y");
    for path in [
        "/etc/secret",
        "/etc/default/../secret",
        "/etc/default/x/../../secret",
        "",
    ] {
        let answer = tree.query(&format!("SELECT value FROM augeas WHERE path = '{path}'"));
        assert!(
            matches!(answer, Err(QueryError::Unreadable { .. })),
            "{path}: {answer:?}"
        );
    }
}

#[test]
fn disks_show_what_they_stand_on() {
    let tree = Tree::empty()
        .disk("sda", &[])
        .partition("sda", "sda1")
        .file("/sys/block/sda/queue/logical_block_size", "512\n")
        .file("/sys/block/sda/sda1/dev", "8:1\n")
        .file(
            "/run/udev/data/b8:1",
            "E:ID_FS_UUID=1-2\nE:ID_FS_UUID_ENC=no\nE:ID_FS_TYPE=ext4\n",
        )
        .mapped("dm-0", "vg-root", "LVM-x", &["sda1"])
        .root_on("/dev/mapper/vg-root", "ext4");

    for (sql, value) in [
        (
            "SELECT parent || block_size || uuid || type FROM block_devices WHERE name = '/dev/sda1'",
            "/dev/sda5121-2ext4",
        ),
        (
            "SELECT parent || size FROM block_devices WHERE name = '/dev/dm-0'",
            "/dev/sda12048",
        ),
        (
            "SELECT device_alias || type || flags FROM mounts WHERE path = '/'",
            "/dev/dm-0ext4rw,relatime",
        ),
        ("SELECT count(*) FROM mounts", "2"),
    ] {
        assert_eq!(tree.value(sql), value, "{sql}");
    }
}

#[test]
fn what_processes_run_is_told_by_whoever_may_know() {
    let tree = Tree::empty()
        .process(1, "init", 0, 0)
        .process(2, "editor", 1, 1000)
        .process(3, "thread", 0, 0)
        .process(4, "secret", 1, 0);
    let sql =
        "SELECT group_concat(pid || ' ' || path || ' ' || on_disk, ', ') AS told FROM processes";
    let told = |executables| {
        let machine = Machine::rooted_at(tree.path()).with_executables(executables);
        Tables::open(machine).unwrap().query(sql)
    };

    let known = told(|pid| match pid {
        1 => Ok(Some("/sbin/init".to_owned())),
        2 => Ok(Some("/usr/bin/editor (deleted)".to_owned())),
        3 => Ok(None),
        _ => Err(ErrorKind::PermissionDenied.into()),
    });
    let lost = told(|_| Err(ErrorKind::ConnectionRefused.into()));

    assert_eq!(
        known.unwrap()[0].value("told"),
        Some("1 /sbin/init 1, 2 /usr/bin/editor 0, 3  -1, 4  -1")
    );
    assert!(
        matches!(lost, Err(QueryError::Unreadable { .. })),
        "a program that nobody may see is not one that does not run: {lost:?}"
    );
}

#[test]
fn how_screens_lock_is_told_by_whoever_may_read_the_settings() {
    let tree = Tree::empty();
    let sql = "SELECT group_concat(coalesce(enabled || ' ' || grace_period, '?'), ', ') AS told FROM screenlock";
    let told = |screen_locks| {
        let machine = Machine::rooted_at(tree.path()).with_screen_locks(screen_locks);
        Tables::open(machine).unwrap().query(sql)
    };

    let known = told(|| {
        let locked = ScreenLock {
            is_enabled: true,
            grace_seconds: 5,
        };
        Ok(Some(vec![Some(locked), None]))
    });
    let own = told(|| Ok(None));
    let lost = told(|| Err(ErrorKind::TimedOut.into()));

    assert_eq!(known.unwrap()[0].value("told"), Some("1 5, ?"));
    assert_eq!(own.unwrap()[0].value("told"), Some(""));
    assert!(
        matches!(lost, Err(QueryError::Unreadable { .. })),
        "{lost:?}"
    );
}

//! Who has an account.

use super::{Column, Record, Table, integer, sought, text};
use crate::machine::{Machine, Unreadable};

pub(crate) const USERS: Table = Table {
    name: "users",
    columns: COLUMNS,
    required: None,
    rows: |scan| {
        let records = accounts(scan.machine)?
            .into_iter()
            .filter(|account| scan.wants("username", &account.name))
            .filter(|account| scan.wants("uid", &account.uid.to_string()))
            .map(Account::into_record)
            .collect();
        Ok(records)
    },
};

const COLUMNS: &[Column] = &[
    sought(integer("uid")),
    integer("gid"),
    integer("uid_signed"),
    integer("gid_signed"),
    sought(text("username")),
    text("description"),
    text("directory"),
    text("shell"),
    text("uuid"),
];

/// One line of `/etc/passwd`.
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) directory: String,
    gid: u32,
    name: String,
    description: String,
    shell: String,
}

impl Account {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, description, directory, shell] = fields.as_slice() else {
            return None;
        };
        Some(Self {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            name: (*name).to_owned(),
            description: (*description).to_owned(),
            directory: (*directory).to_owned(),
            shell: (*shell).to_owned(),
        })
    }

    fn into_record(self) -> Record {
        Record::default()
            .set("uid", self.uid)
            .set("gid", self.gid)
            .set("uid_signed", i64::from(self.uid.cast_signed()))
            .set("gid_signed", i64::from(self.gid.cast_signed()))
            .set("username", self.name)
            .set("description", self.description)
            .set("directory", self.directory)
            .set("shell", self.shell)
    }
}

pub(super) fn accounts(machine: &Machine) -> Result<Vec<Account>, Unreadable> {
    let text = machine.text("/etc/passwd")?.unwrap_or_default();
    Ok(text.lines().filter_map(Account::parse).collect())
}

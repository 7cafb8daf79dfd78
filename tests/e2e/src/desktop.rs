//! A desktop without a screen: a session bus, somebody who shows icons, and somebody who shows messages. The tray is
//! read and used as a panel would.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use zbus::zvariant::{OwnedValue, Value};
use zbus::{Connection, Proxy, connection};

use crate::process::Running;
use crate::scene::{Scene, program};
use crate::service::Connector;
use crate::wait::{DEADLINE, until};

/// The desktop.
#[derive(Debug)]
pub struct Desktop {
    address: String,
    seen: Arc<Seen>,
    connection: Connection,
    runtime: Runtime,
    _bus: Running,
}

/// What was shown.
#[derive(Debug, Default)]
struct Seen {
    icons: Mutex<Vec<String>>,
    messages: Mutex<Vec<Message>>,
}

/// A message to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its heading.
    pub title: String,
    /// What it says.
    pub body: String,
    /// What its buttons say.
    pub buttons: Vec<String>,
}

impl Desktop {
    /// Starts a desktop of the test's own.
    ///
    /// # Panics
    ///
    /// If there is no `dbus-daemon`.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        let address = format!("--address=unix:path={}", scene.path("bus").display());
        let mut bus = Running::start(
            scene,
            "bus",
            Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--print-address=1"])
                .arg(address),
        );
        let address = bus.first_line(DEADLINE);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let seen = Arc::<Seen>::default();
        let connection = runtime
            .block_on(serve(&address, &seen))
            .expect("a connection to the bus");
        Self {
            address,
            seen,
            connection,
            runtime,
            _bus: bus,
        }
    }

    /// Returns the command that starts the tray of `connector`, in English and without a browser.
    #[must_use]
    pub fn tray_command(&self, connector: &Connector<'_>) -> Command {
        let mut command = Command::new(program("ztna-tray"));
        command
            .arg("--socket")
            .arg(connector.socket())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("LC_ALL", "en_GB.UTF-8")
            .env("ZTNA_NO_BROWSER", "1");
        command
    }

    /// Starts the tray, and waits until it is shown.
    pub fn start_tray(&self, scene: &Scene, connector: &Connector<'_>) -> Tray<'_> {
        let before = lock(&self.seen.icons).len();
        let mut process = Running::start(scene, "tray", &mut self.tray_command(connector));
        let name = until("an icon", DEADLINE, || {
            assert!(
                !process.has_ended(),
                "the tray has ended: {}",
                process.log()
            );
            lock(&self.seen.icons).get(before).cloned()
        });
        Tray {
            desktop: self,
            name,
            process,
        }
    }

    /// Waits for a message with this heading.
    pub fn wait_for_message(&self, title: &str) -> Message {
        until(&format!("the message {title:?}"), DEADLINE, || {
            let messages = lock(&self.seen.messages);
            messages.iter().find(|one| one.title == title).cloned()
        })
    }

    /// Returns every message so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.seen.messages).clone()
    }
}

/// The tray, as its panel sees it.
#[derive(Debug)]
pub struct Tray<'a> {
    desktop: &'a Desktop,
    name: String,
    /// The process.
    pub process: Running,
}

/// A line of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    number: i32,
    /// In how many menus it lies.
    pub depth: usize,
    /// What it says.
    pub label: String,
    /// Whether it can be chosen.
    pub enabled: bool,
}

impl Tray<'_> {
    /// Returns the whole menu.
    ///
    /// # Panics
    ///
    /// If the tray does not say.
    #[must_use]
    pub fn menu(&self) -> Vec<Line> {
        let arguments = (0_i32, -1_i32, Vec::<String>::new());
        let layout = self.call("GetLayout", &arguments);
        let (_, root): (u32, Node) = layout.body().deserialize().expect("a layout");
        let mut lines = Vec::new();
        for child in root.2 {
            flatten(&child, 0, &mut lines);
        }
        lines
    }

    /// Returns what the menu says first.
    #[must_use]
    pub fn state(&self) -> String {
        let menu = self.menu();
        menu.first()
            .map(|line| line.label.clone())
            .unwrap_or_default()
    }

    /// Waits until the menu says first that it is as `wanted`.
    ///
    /// # Panics
    ///
    /// If it says something else all the time.
    pub fn wait_for(&self, wanted: &str, limit: Duration) {
        let begun = Instant::now();
        while self.state() != wanted {
            assert!(
                begun.elapsed() < limit,
                "not within {limit:?}: the tray to say {wanted:?}; it says {:?}",
                self.menu()
            );
        }
    }

    /// Waits for a line that begins so.
    pub fn wait_for_line(&self, beginning: &str) -> Line {
        until(&format!("the line {beginning:?}"), DEADLINE, || {
            self.line(beginning)
        })
    }

    /// Returns the first line that begins so.
    #[must_use]
    pub fn line(&self, beginning: &str) -> Option<Line> {
        let mut lines = self.menu().into_iter();
        lines.find(|line| line.label.starts_with(beginning))
    }

    /// Chooses the first line that begins so, as a click does.
    ///
    /// # Panics
    ///
    /// If it cannot be chosen.
    pub fn choose(&self, beginning: &str) {
        let line = self.wait_for_line(beginning);
        assert!(line.enabled, "{line:?}");
        let click = (line.number, "clicked", Value::from(0_i32), 0_u32);
        self.call("Event", &click);
    }

    /// Returns the icon in words, and its first picture's pixels.
    ///
    /// # Panics
    ///
    /// If the tray does not say.
    #[must_use]
    pub fn icon(&self) -> (String, Vec<u8>) {
        let item = self.desktop.runtime.block_on(async {
            Proxy::new(
                &self.desktop.connection,
                self.name.as_str(),
                "/StatusNotifierItem",
                "org.kde.StatusNotifierItem",
            )
            .await
        });
        let item = item.expect("the item");
        let get = |property| {
            let value = self
                .desktop
                .runtime
                .block_on(async { item.get_property::<OwnedValue>(property).await });
            value.expect("a property")
        };
        let tip: (String, Vec<Picture>, String, String) =
            get("ToolTip").try_into().expect("a tool tip");
        let pictures: Vec<Picture> = get("IconPixmap").try_into().expect("pictures");
        (tip.2, pictures.into_iter().next().expect("a picture").2)
    }

    fn call<B>(&self, method: &str, body: &B) -> zbus::Message
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let call = self.desktop.connection.call_method(
            Some(self.name.as_str()),
            "/MenuBar",
            Some("com.canonical.dbusmenu"),
            method,
            body,
        );
        let reply = self.desktop.runtime.block_on(call);
        reply.unwrap_or_else(|error| panic!("{method}: {error}: {}", self.process.log()))
    }
}

/// A menu as it is sent: its number, its properties, what is in it.
type Node = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

/// Width, height, pixels.
type Picture = (i32, i32, Vec<u8>);

fn flatten(node: &Value<'_>, depth: usize, into: &mut Vec<Line>) {
    let Value::Structure(node) = node else {
        panic!("no menu: {node:?}");
    };
    let [
        Value::I32(number),
        Value::Dict(properties),
        Value::Array(children),
    ] = node.fields()
    else {
        panic!("no menu: {node:?}");
    };
    let label = properties.get::<_, String>(&"label").ok().flatten();
    let enabled = properties.get::<_, bool>(&"enabled").ok().flatten();
    into.push(Line {
        number: *number,
        depth,
        label: label.unwrap_or_default(),
        enabled: enabled.unwrap_or(true),
    });
    for child in children.iter() {
        let child = if let Value::Value(inner) = child {
            inner
        } else {
            child
        };
        flatten(child, depth + 1, into);
    }
}

async fn serve(address: &str, seen: &Arc<Seen>) -> zbus::Result<Connection> {
    connection::Builder::address(address)?
        .serve_at("/StatusNotifierWatcher", Watcher(Arc::clone(seen)))?
        .serve_at("/org/freedesktop/Notifications", Messages(Arc::clone(seen)))?
        .name("org.kde.StatusNotifierWatcher")?
        .name("org.freedesktop.Notifications")?
        .build()
        .await
}

/// Who shows icons.
struct Watcher(Arc<Seen>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String) {
        lock(&self.0.icons).push(service);
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }
}

/// Who shows messages.
struct Messages(Arc<Seen>);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Messages {
    #[expect(
        clippy::too_many_arguments,
        clippy::needless_pass_by_value,
        reason = "the desktops' agreement says which"
    )]
    fn notify(
        &self,
        _program: &str,
        _replaces: u32,
        _icon: &str,
        title: String,
        body: String,
        buttons: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _expires: i32,
    ) -> u32 {
        let mut messages = lock(&self.0.messages);
        let labels = buttons
            .chunks(2)
            .filter_map(|button| button.get(1).cloned());
        messages.push(Message {
            title,
            body,
            buttons: labels.collect(),
        });
        u32::try_from(messages.len()).unwrap_or(u32::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

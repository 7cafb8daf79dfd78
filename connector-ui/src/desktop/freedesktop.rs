//! Desktops by freedesktop.org's agreements: the icon as a StatusNotifierItem with a
//! com.canonical.dbusmenu, messages by org.freedesktop.Notifications.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use connector_ui::notices::Notice;
use connector_ui::view::{Action, Entry, Goal, Menu};
use ksni::menu::{StandardItem, SubMenu};
use ksni::{Category, Handle, MenuItem, OfflineReason, ToolTip, Tray, TrayMethods};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zbus::export::futures_core::Stream;
use zbus::fdo::RequestNameFlags;
use zbus::zvariant::Value;
use zbus::{Connection, MatchRule, MessageStream, message};

/// Shows the icon with `first`, and runs `program` until it ends.
///
/// # Errors
///
/// Why there is no icon.
pub(crate) fn run<P, F>(first: Menu, program: P) -> anyhow::Result<()>
where
    P: FnOnce(Desktop, mpsc::Receiver<Action>) -> F,
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        let (chosen, choices) = mpsc::channel(super::MAX_CHOICES);
        let desktop = Desktop::open(first, chosen).await?;
        program(desktop, choices).await;
        Ok(())
    })
}

/// A desktop with a session bus.
pub(crate) struct Desktop {
    icon: Handle<Icon>,
    bus: Connection,
    offers: Offers,
    /// Hears which button of a message was pressed, until dropped.
    _listening: JoinSet<()>,
}

impl Desktop {
    /// Shows the icon with `menu`; what is chosen goes to `chosen`. Where no panel shows icons
    /// yet, the icon waits for one.
    async fn open(menu: Menu, chosen: mpsc::Sender<Action>) -> Result<Self, DesktopError> {
        let no_session = |error: &dyn std::error::Error| DesktopError::NoSession(error.to_string());
        let bus = Connection::session()
            .await
            .map_err(|error| no_session(&error))?;
        let alone = bus
            .request_name_with_flags(NAME, RequestNameFlags::DoNotQueue.into())
            .await;
        match alone {
            Ok(_) => {}
            Err(zbus::Error::NameTaken) => return Err(DesktopError::AlreadyShown),
            Err(error) => return Err(no_session(&error)),
        }
        let offers = Offers::default();
        let mut listening = JoinSet::new();
        // A desktop that shows no messages has no buttons to press either.
        if let Ok(pressed) = pressed(&bus).await {
            listening.spawn(listen(pressed, offers.clone(), chosen.clone()));
        }
        let icon = Icon { menu, chosen }
            .assume_sni_available(true)
            .spawn()
            .await
            .map_err(|error| no_session(&error))?;
        Ok(Self {
            icon,
            bus,
            offers,
            _listening: listening,
        })
    }

    /// Shows another menu.
    pub(crate) async fn change(&self, menu: Menu) {
        self.icon
            .update(|icon| {
                // A panel redraws whatever it is told of, and closes open menus.
                if icon.menu != menu {
                    icon.menu = menu;
                }
            })
            .await;
    }

    /// Shows a message; where none can be shown, the menu says the same.
    pub(crate) async fn tell(&self, notice: Notice) {
        let mut buttons = Vec::new();
        if let Some((label, _)) = &notice.offer {
            buttons.extend([OFFER, label]);
        }
        let urgency: u8 = if notice.is_urgent { 2 } else { 1 };
        let hints = HashMap::from([("urgency", Value::from(urgency))]);
        let message = (
            TITLE,
            0_u32,
            "network-vpn",
            notice.title.as_str(),
            escaped(&notice.body),
            buttons,
            hints,
            DEFAULT_EXPIRY,
        );
        let shown = self
            .bus
            .call_method(
                Some(NOTIFICATIONS),
                NOTIFICATIONS_PATH,
                Some(NOTIFICATIONS),
                "Notify",
                &message,
            )
            .await;
        let number = shown.and_then(|reply| reply.body().deserialize::<u32>());
        if let (Ok(number), Some((_, action))) = (number, notice.offer) {
            self.offers.note(number, action);
        }
    }
}

/// The icon as panels see it.
struct Icon {
    menu: Menu,
    chosen: mpsc::Sender<Action>,
}

impl Tray for Icon {
    fn id(&self) -> String {
        "ztna-tray".to_owned()
    }

    fn title(&self) -> String {
        TITLE.to_owned()
    }

    fn category(&self) -> Category {
        Category::SystemServices
    }

    fn status(&self) -> ksni::Status {
        match self.menu.needs_attention {
            true => ksni::Status::NeedsAttention,
            false => ksni::Status::Active,
        }
    }

    fn icon_pixmap(&self) -> Vec<ksni::Icon> {
        SIZES
            .into_iter()
            .map(|size| {
                let mut data = self.menu.icon.rgba(size);
                for pixel in data.chunks_exact_mut(4) {
                    // Opacity goes first here.
                    pixel.rotate_right(1);
                }
                ksni::Icon {
                    width: size.into(),
                    height: size.into(),
                    data,
                }
            })
            .collect()
    }

    fn attention_icon_pixmap(&self) -> Vec<ksni::Icon> {
        self.icon_pixmap()
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip {
            title: self.menu.tooltip.clone(),
            description: escaped(&self.menu.header[1..].join("\n")),
            ..ToolTip::default()
        }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        let header = self.menu.header.iter().map(|line| to_read(line));
        header.chain(self.menu.entries.iter().map(item)).collect()
    }

    fn activate(&mut self, _: i32, _: i32) {
        let _ = self.chosen.try_send(Action::OpenWindow(Goal::Overview));
    }

    fn watcher_offline(&self, _: OfflineReason) -> bool {
        // A panel that crashed comes back, and one that starts late comes.
        true
    }
}

fn item(entry: &Entry) -> MenuItem<Icon> {
    match entry {
        Entry::Item(item) => {
            let action = item.action.clone();
            StandardItem {
                label: label(&item.label),
                enabled: action.is_some(),
                activate: Box::new(move |icon: &mut Icon| {
                    if let Some(action) = action.clone() {
                        // With so many waiting, nobody means one more.
                        let _ = icon.chosen.try_send(action);
                    }
                }),
                ..StandardItem::default()
            }
            .into()
        }
        Entry::Separator => MenuItem::Separator,
        Entry::Submenu {
            label: text,
            entries,
            ..
        } => SubMenu {
            label: label(text),
            enabled: !entries.is_empty(),
            submenu: entries.iter().map(item).collect(),
            ..SubMenu::default()
        }
        .into(),
        Entry::Text(text) => to_read(text),
    }
}

fn to_read(text: &str) -> MenuItem<Icon> {
    StandardItem {
        label: label(text),
        enabled: false,
        ..StandardItem::default()
    }
    .into()
}

/// Returns a label in which no underscore marks a key.
fn label(text: &str) -> String {
    text.replace('_', "__")
}

/// Returns a text that says the same where markup is understood.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What the buttons of messages do, by the messages' numbers.
#[derive(Clone, Default)]
struct Offers(Arc<Mutex<VecDeque<(u32, Action)>>>);

impl Offers {
    fn note(&self, number: u32, action: Action) {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if offers.len() == MAX_OFFERS {
            offers.pop_front();
        }
        offers.push_back((number, action));
    }

    fn take(&self, number: u32) -> Option<Action> {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = offers.iter().position(|(known, _)| *known == number)?;
        Some(offers.remove(at)?.1)
    }
}

async fn pressed(bus: &Connection) -> zbus::Result<MessageStream> {
    // Who shows messages has a name; a signal of somebody else is none of ours.
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .sender(NOTIFICATIONS)?
        .interface(NOTIFICATIONS)?
        .member("ActionInvoked")?
        .build();
    MessageStream::for_match_rule(rule, bus, Some(MAX_OFFERS)).await
}

async fn listen(mut pressed: MessageStream, offers: Offers, chosen: mpsc::Sender<Action>) {
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut pressed).poll_next(context)).await;
        let Some(signal) = next else { return };
        let number = signal.and_then(|signal| {
            let (number, _) = signal.body().deserialize::<(u32, String)>()?;
            Ok(number)
        });
        let action = number.ok().and_then(|number| offers.take(number));
        if let Some(action) = action
            && chosen.send(action).await.is_err()
        {
            return;
        }
    }
}

/// Why there is no icon.
#[derive(Debug, thiserror::Error)]
enum DesktopError {
    /// Another one is there.
    #[error("the connector's icon is there already, in this session of yours")]
    AlreadyShown,
    /// There is nobody to show it.
    #[error(
        "this session has no D-Bus, by which desktops show icons: {0}; `ztna status` shows the same in a terminal"
    )]
    NoSession(String),
}

const TITLE: &str = "ZTNA Connector";

/// Held by the one tray of a session.
const NAME: &str = "ztna.connector.Tray";

const NOTIFICATIONS: &str = "org.freedesktop.Notifications";
const NOTIFICATIONS_PATH: &str = "/org/freedesktop/Notifications";

/// The desktop knows how long its messages stay.
const DEFAULT_EXPIRY: i32 = -1;

/// The button of a message.
const OFFER: &str = "offer";

/// More messages with buttons are not on a screen.
const MAX_OFFERS: usize = 16;

/// Those that panels ask for, for screens of one and of two dots.
const SIZES: [u8; 5] = [16, 22, 24, 32, 48];

//! macOS and Windows, whose icons live on the first thread of a program and in its event loop.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
#[cfg(windows)]
use connector_platform::balloon::{Balloon, IconWindow};
use connector_ui::notices::Notice;
use connector_ui::preferences;
use connector_ui::view::{Action, Entry, Menu};
use tokio::sync::mpsc;
use tray_icon::menu::{self, IsMenuItem, MenuEvent, MenuItem, PredefinedMenuItem, Submenu};
use tray_icon::{Icon, TrayIcon, TrayIconBuilder};
use winit::application::ApplicationHandler;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop, EventLoopProxy};
use winit::window::WindowId;

/// Shows the icon with `first`, and runs `program` on a thread of its own until it ends.
///
/// # Errors
///
/// The system shows no icons.
pub(crate) fn run<P, F>(first: Menu, program: P) -> anyhow::Result<()>
where
    P: FnOnce(Desktop, mpsc::Receiver<Action>) -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let _alone = claim()?;
    let mut builder = EventLoop::<Told>::with_user_event();
    #[cfg(target_os = "macos")]
    {
        use winit::platform::macos::{ActivationPolicy, EventLoopBuilderExtMacOS as _};
        // Neither in the dock nor in the way.
        builder.with_activation_policy(ActivationPolicy::Accessory);
    }
    let events = builder.build().context("no events from the desktop")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let (chosen, choices) = mpsc::channel(super::MAX_CHOICES);
    let desktop = Desktop {
        proxy: events.create_proxy(),
    };
    let leave = events.create_proxy();
    std::thread::Builder::new()
        .name("program".to_owned())
        .spawn(move || {
            runtime.block_on(program(desktop, choices));
            // If nobody listens any more, the program has ended already.
            let _ = leave.send_event(Told::Leave);
        })
        .context("no thread")?;

    let mut shown = Shown::new(first, chosen);
    events.run_app(&mut shown).context("the desktop's events")?;
    match shown.problem {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Claims that this is the person's only icon, until dropped; nothing where there is no place to
/// claim it in.
fn claim() -> anyhow::Result<Option<File>> {
    let Some(path) = preferences::path().map(|path| path.with_file_name(LOCK)) else {
        return Ok(None);
    };
    if let Some(folder) = path.parent() {
        // If it cannot be made, the file tells.
        let _ = fs::create_dir_all(folder);
    }
    let lock = File::options().create(true).append(true).open(path);
    match lock.map(|lock| lock.try_lock().map(|()| lock)) {
        Ok(Ok(lock)) => Ok(Some(lock)),
        Ok(Err(TryLockError::WouldBlock)) => {
            bail!("the connector's icon is there already")
        }
        Ok(Err(TryLockError::Error(_))) | Err(_) => Ok(None),
    }
}

/// The desktop as the program knows it.
pub(crate) struct Desktop {
    proxy: EventLoopProxy<Told>,
}

/// What the first thread is told.
enum Told {
    Change(Box<Menu>),
    Leave,
    Tell(Notice),
}

impl Desktop {
    /// Shows another menu.
    pub(crate) fn change(&self, menu: Menu) -> Ready<()> {
        // Once the first thread has gone there is nothing to show.
        let _ = self.proxy.send_event(Told::Change(Box::new(menu)));
        ready(())
    }

    /// Shows a message on Windows, and nothing on macOS, which asks for a signed program with a name
    /// of its own; the menu says the same.
    pub(crate) fn tell(&self, notice: Notice) -> Ready<()> {
        let _ = self.proxy.send_event(Told::Tell(notice));
        ready(())
    }
}

/// What is on the screen.
struct Shown {
    menu: Menu,
    /// What each item does, by its name.
    actions: Arc<Mutex<HashMap<String, Action>>>,
    icon: Option<TrayIcon>,
    problem: Option<anyhow::Error>,
}

impl Shown {
    fn new(menu: Menu, chosen: mpsc::Sender<Action>) -> Self {
        let actions = Arc::<Mutex<HashMap<String, Action>>>::default();
        let known = Arc::clone(&actions);
        MenuEvent::set_event_handler(Some(move |event: MenuEvent| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(action) = known.get(event.id().as_ref()) {
                // With so many waiting, nobody means one more.
                let _ = chosen.try_send(action.clone());
            }
        }));
        Self {
            menu,
            actions,
            icon: None,
            problem: None,
        }
    }

    /// Brings the screen up to date.
    fn draw(&mut self) -> anyhow::Result<()> {
        let menu = self.build().context("the menu")?;
        let pixels = self.menu.icon.rgba(SIZE);
        let picture = Icon::from_rgba(pixels, SIZE.into(), SIZE.into()).context("the icon")?;
        let Some(icon) = &self.icon else {
            let icon = TrayIconBuilder::new()
                .with_menu(Box::new(menu))
                .with_tooltip(&self.menu.tooltip)
                .with_icon(picture)
                .build()
                .context("no place for icons")?;
            self.icon = Some(icon);
            return Ok(());
        };
        icon.set_menu(Some(Box::new(menu)));
        icon.set_icon(Some(picture)).context("the icon")?;
        icon.set_tooltip(Some(&self.menu.tooltip))
            .context("the tool tip")
    }

    fn build(&self) -> menu::Result<menu::Menu> {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        actions.clear();
        let menu = menu::Menu::new();
        for line in &self.menu.header {
            menu.append(&to_read(line))?;
        }
        for entry in &self.menu.entries {
            menu.append(&*item(entry, &mut actions)?)?;
        }
        Ok(menu)
    }
}

impl ApplicationHandler<Told> for Shown {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if let Err(problem) = self.draw() {
            self.problem = Some(problem);
            events.exit();
        }
    }

    fn user_event(&mut self, events: &ActiveEventLoop, told: Told) {
        match told {
            Told::Change(menu) if *menu == self.menu => {}
            Told::Change(menu) => {
                self.menu = *menu;
                // What cannot be drawn now is drawn with the next change.
                let _ = self.draw();
            }
            Told::Leave => events.exit(),
            Told::Tell(notice) => {
                if let Some(icon) = &self.icon {
                    show(icon, &notice);
                }
            }
        }
    }

    fn window_event(&mut self, _: &ActiveEventLoop, _: WindowId, _: WindowEvent) {}
}

fn item(entry: &Entry, actions: &mut HashMap<String, Action>) -> menu::Result<Box<dyn IsMenuItem>> {
    Ok(match entry {
        Entry::Item(item) => {
            let is_enabled = item.action.is_some();
            if let Some(action) = &item.action {
                actions.insert(item.id.clone(), action.clone());
            }
            let line = MenuItem::with_id(item.id.as_str(), label(&item.label), is_enabled, None);
            Box::new(line)
        }
        Entry::Separator => Box::new(PredefinedMenuItem::separator()),
        Entry::Submenu {
            label: text,
            entries,
            ..
        } => {
            let submenu = Submenu::new(label(text), !entries.is_empty());
            for entry in entries {
                submenu.append(&*item(entry, actions)?)?;
            }
            Box::new(submenu)
        }
        Entry::Text(text) => Box::new(to_read(text)),
    })
}

fn to_read(text: &str) -> MenuItem {
    MenuItem::new(label(text), false, None)
}

#[cfg(windows)]
fn show(icon: &TrayIcon, notice: &Notice) {
    let balloon = Balloon {
        title: &notice.title,
        body: &notice.body,
        is_urgent: notice.is_urgent,
    };
    // Where none can be shown, the menu says the same.
    let _ = IconWindow::new(icon.window_handle()).show(balloon);
}

#[cfg(not(windows))]
fn show(_: &TrayIcon, _: &Notice) {}

/// Returns a label in which no ampersand marks a key.
fn label(text: &str) -> String {
    text.replace('&', "&&")
}

/// Beside the person's preferences.
const LOCK: &str = "tray.lock";

/// Points of an icon on a screen of two dots a point.
const SIZE: u8 = 44;

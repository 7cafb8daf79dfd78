//! Draws blocks, and says what was pressed or written.

mod graph;

use std::collections::HashMap;

use connector_ui::icon::Icon;
use connector_ui::pages::{Act, Block, Button, Card, Choice, Field, Model, Page};
use connector_ui::texts::Texts;
use eframe::egui::{
    self, Align, Color32, ColorImage, ComboBox, Frame, Id, Label, Layout, Margin, Panel, Response,
    RichText, Role, ScrollArea, Sense, Stroke, TextEdit, TextStyle, TextureHandle, TextureOptions,
    Ui, Vec2, WidgetInfo,
};

/// Draws the window, and keeps what only drawing needs.
#[derive(Default)]
pub(crate) struct Painter {
    icons: HashMap<(Icon, u8), TextureHandle>,
    wants_search: bool,
    shown: Option<Page>,
    /// The card that was open when the page was drawn last.
    open: Option<String>,
}

impl Painter {
    /// Puts the cursor into the page's search when it is drawn next.
    pub(crate) fn focus_search(&mut self) {
        self.wants_search = true;
    }

    /// Draws everything; returns what was pressed or written.
    pub(crate) fn draw(
        &mut self,
        ui: &mut Ui,
        model: &Model,
        texts: &Texts,
        blocks: &[Block],
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        if ui.available_width() < NARROW {
            Panel::top("pages").show(ui, |ui| one_of_pages(ui, model, texts, &mut acts));
        } else {
            Panel::left("pages")
                .resizable(false)
                .exact_size(PAGES)
                .show(ui, |ui| list_of_pages(ui, model, texts, &mut acts));
        }
        egui::CentralPanel::default().show(ui, |ui| {
            let page = model.page();
            let is_new = self.shown.replace(page) != Some(page);
            // Each page has its own place in it, and begins at its top.
            let mut area = ScrollArea::vertical()
                .id_salt(page.name())
                .auto_shrink(false);
            if is_new {
                area = area.vertical_scroll_offset(0.0);
            }
            area.show(ui, |ui| {
                Frame::NONE.inner_margin(Margin::same(8)).show(ui, |ui| {
                    ui.set_max_width(WIDEST.min(ui.available_width()));
                    message(ui, model, texts, &mut acts);
                    heading(ui, &page.title(texts), TextStyle::Heading);
                    self.blocks(ui, blocks, texts, &mut acts);
                });
            });
        });
        self.wants_search = false;
        acts
    }

    fn blocks(&mut self, ui: &mut Ui, blocks: &[Block], texts: &Texts, acts: &mut Vec<Act>) {
        for block in blocks {
            match block {
                Block::Buttons(buttons) => self::buttons(ui, buttons, acts),
                Block::Card(card) => self.card(ui, card, texts, acts),
                Block::Choice(choice) => self::choice(ui, choice, acts),
                Block::Facts(facts) => self::facts(ui, facts),
                Block::Field(field) => self.field(ui, field, acts),
                Block::Graph(graph) => graph::draw(ui, graph, texts),
                Block::Heading(text) => {
                    ui.add_space(6.0);
                    heading(ui, text, TextStyle::Name("section".into()));
                }
                Block::Standing {
                    icon,
                    headline,
                    details,
                } => self.standing(ui, *icon, headline, details),
                Block::Text(text) => {
                    ui.add(Label::new(text).wrap());
                }
            }
        }
    }

    fn standing(&mut self, ui: &mut Ui, icon: Icon, headline: &str, details: &[String]) {
        box_of(ui).show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.horizontal_top(|ui| {
                self.icon(ui, icon, 40);
                ui.vertical(|ui| {
                    ui.add(Label::new(RichText::new(headline).size(19.0).strong()).wrap());
                    for detail in details {
                        ui.add(Label::new(detail).wrap());
                    }
                });
            });
        });
    }

    fn card(&mut self, ui: &mut Ui, card: &Card, texts: &Texts, acts: &mut Vec<Act>) {
        let is_open = !card.inside.is_empty();
        let was_open = self.open.as_deref() == Some(card.id.as_str());
        let drawn = ui.push_id(&card.id, |ui| {
            box_of(ui).show(ui, |ui| {
                ui.set_width(ui.available_width());
                ui.horizontal_top(|ui| {
                    self.icon(ui, card.icon, 18);
                    ui.vertical(|ui| {
                        title(ui, card, acts);
                        for line in &card.lines {
                            ui.add(Label::new(RichText::new(line).weak()).wrap());
                        }
                        self.blocks(ui, &card.inside, texts, acts);
                        if !card.buttons.is_empty() {
                            buttons(ui, &card.buttons, acts);
                        }
                    });
                });
            });
        });
        match (was_open, is_open) {
            (false, true) => {
                drawn.response.scroll_to_me(None);
                self.open = Some(card.id.clone());
            }
            (true, false) => self.open = None,
            (true, true) | (false, false) => {}
        }
    }

    fn field(&self, ui: &mut Ui, field: &Field, acts: &mut Vec<Act>) {
        let label = ui.add(Label::new(RichText::new(&field.label).weak()).wrap());
        let mut text = field.text.clone();
        let id = Id::unique(("field", field.label.as_str()));
        let edit = TextEdit::singleline(&mut text)
            .id(id)
            .desired_width(ui.available_width().min(420.0));
        let response = ui.add(edit).labelled_by(label.id);
        if self.wants_search && field.place.is_search() {
            response.request_focus();
        }
        if response.changed() {
            acts.push(Act::Write(field.place, text));
        }
    }

    /// Draws a shape; what it means stands beside it in words.
    fn icon(&mut self, ui: &mut Ui, icon: Icon, size: u8) {
        let dots = f32::from(size) * ui.ctx().pixels_per_point();
        // Textures for screens of one to four dots a point.
        let side = [18, 36, 40, 72, 80, 160]
            .into_iter()
            .find(|side| f32::from(*side) >= dots)
            .unwrap_or(160);
        let texture = self.icons.entry((icon, side)).or_insert_with(|| {
            let sides = [usize::from(side), usize::from(side)];
            let image = ColorImage::from_rgba_unmultiplied(sides, &icon.rgba(side));
            ui.ctx().load_texture("icon", image, TextureOptions::LINEAR)
        });
        let (place, _) = ui.allocate_exact_size(Vec2::splat(f32::from(size)), Sense::hover());
        let whole = egui::Rect::from_min_max(egui::Pos2::ZERO, egui::pos2(1.0, 1.0));
        ui.painter()
            .image(texture.id(), place, whole, Color32::WHITE);
    }
}

/// The pages, where there is room for them beside the page.
fn list_of_pages(ui: &mut Ui, model: &Model, texts: &Texts, acts: &mut Vec<Act>) {
    ScrollArea::vertical().show(ui, |ui| {
        ui.add_space(6.0);
        ui.with_layout(Layout::top_down_justified(Align::Min), |ui| {
            for (page, number) in Page::ALL.into_iter().zip(1..) {
                let title = page.title(texts);
                let is_shown = page == model.page();
                let button = egui::Button::selectable(is_shown, title);
                let response = ui.add(button).on_hover_text(format!("Ctrl+{number}"));
                if response.clicked() {
                    acts.push(Act::Go(page));
                }
            }
        });
    });
}

/// The pages, where there is not.
fn one_of_pages(ui: &mut Ui, model: &Model, texts: &Texts, acts: &mut Vec<Act>) {
    ui.add_space(4.0);
    let label = texts.say("page-chosen");
    ui.horizontal(|ui| {
        let shown = ComboBox::from_id_salt("pages")
            .selected_text(model.page().title(texts))
            .width(ui.available_width().min(220.0))
            .show_ui(ui, |ui| {
                for page in Page::ALL {
                    if ui
                        .selectable_label(page == model.page(), page.title(texts))
                        .clicked()
                    {
                        acts.push(Act::Go(page));
                    }
                }
            });
        shown
            .response
            .widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, &label));
    });
    ui.add_space(4.0);
}

fn message(ui: &mut Ui, model: &Model, texts: &Texts, acts: &mut Vec<Act>) {
    let Some(notice) = model.message() else {
        return;
    };
    box_of(ui)
        .stroke(Stroke::new(2.0, ui.visuals().selection.bg_fill))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.add(Label::new(RichText::new(&notice.title).strong()).wrap());
            if !notice.body.is_empty() {
                ui.add(Label::new(&notice.body).wrap());
            }
            if ui.button(texts.say("dismiss")).clicked() {
                acts.push(Act::Dismiss);
            }
        });
}

/// The title of a card, with its state in a word.
fn title(ui: &mut Ui, card: &Card, acts: &mut Vec<Act>) {
    ui.horizontal_wrapped(|ui| {
        let text = RichText::new(&card.title).strong();
        if card.can_open {
            let is_open = !card.inside.is_empty();
            let response = ui.add(egui::Link::new(text.underline()));
            response.widget_info(|| {
                let name = format!("{}, {}", card.title, card.word);
                WidgetInfo::selected(Role::DisclosureTriangle, true, is_open, name)
            });
            if response.clicked() {
                acts.push(Act::Fold(card.id.clone()));
            }
        } else {
            ui.add(Label::new(text).wrap());
        }
        ui.add(Label::new(format!("– {}", card.word)).wrap());
    });
}

fn buttons(ui: &mut Ui, buttons: &[Button], acts: &mut Vec<Act>) {
    ui.horizontal_wrapped(|ui| {
        for button in buttons {
            if press(ui, button, None).clicked() {
                acts.push(button.act.clone());
            }
        }
    });
}

fn choice(ui: &mut Ui, choice: &Choice, acts: &mut Vec<Act>) {
    ui.horizontal_wrapped(|ui| {
        ui.add(Label::new(RichText::new(&choice.label).weak()));
        for (button, is_chosen) in &choice.options {
            let mut button = button.clone();
            button.name = format!("{}: {}", choice.label, button.label);
            if press(ui, &button, Some(*is_chosen)).clicked() {
                acts.push(button.act);
            }
        }
    });
}

fn press(ui: &mut Ui, button: &Button, is_chosen: Option<bool>) -> Response {
    let is_enabled = button.hindrance.is_none();
    let widget = egui::Button::new(&button.label).selected(is_chosen.unwrap_or_default());
    let mut response = ui.add_enabled(is_enabled, widget);
    let name = match &button.hindrance {
        Some(hindrance) => format!("{} ({hindrance})", button.name),
        None => button.name.clone(),
    };
    response.widget_info(|| match is_chosen {
        Some(is_chosen) => WidgetInfo::selected(Role::RadioButton, is_enabled, is_chosen, &name),
        None => WidgetInfo::labeled(Role::Button, is_enabled, &name),
    });
    if let Some(hindrance) = &button.hindrance {
        response = response.on_disabled_hover_text(hindrance);
    }
    response
}

/// Names and what they are: beside each other, or below each other where there is little room.
fn facts(ui: &mut Ui, facts: &[(String, String)]) {
    let is_narrow = ui.available_width() < NARROW_FACTS;
    for (name, value) in facts {
        if is_narrow {
            ui.add(Label::new(RichText::new(name).weak()).wrap());
            ui.add(Label::new(value).wrap());
            continue;
        }
        ui.horizontal_top(|ui| {
            let column = Vec2::new(NAMES, 0.0);
            ui.allocate_ui_with_layout(column, Layout::top_down(Align::Min), |ui| {
                ui.set_width(NAMES);
                ui.add(Label::new(RichText::new(name).weak()).wrap());
            });
            ui.vertical(|ui| ui.add(Label::new(value).wrap()));
        });
    }
}

fn heading(ui: &mut Ui, text: &str, style: TextStyle) {
    let label = Label::new(RichText::new(text).text_style(style).strong()).wrap();
    let response = ui.add(label);
    response.widget_info(|| WidgetInfo::labeled(Role::Heading, true, text));
}

fn box_of(ui: &Ui) -> Frame {
    Frame::NONE
        .fill(ui.visuals().faint_bg_color)
        .stroke(ui.visuals().widgets.noninteractive.bg_stroke)
        .corner_radius(6)
        .inner_margin(Margin::same(10))
}

/// With less than that, the list of pages takes too much of it.
const NARROW: f32 = 560.0;

/// As wide as the longest title in any language.
const PAGES: f32 = 150.0;

/// Longer lines are hard to read.
const WIDEST: f32 = 820.0;

/// The column of names, and the least that makes two columns of it.
const NAMES: f32 = 170.0;
const NARROW_FACTS: f32 = 360.0;

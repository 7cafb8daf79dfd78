//! Sizes and colours.

use connector_ui::icon::Icon;
use connector_ui::preferences::Theme;
use eframe::egui::{self, Color32, FontId, Stroke, TextStyle, Vec2};

/// Sets sizes and colours for the whole window.
pub(crate) fn dress(context: &egui::Context, theme: Theme) {
    context.all_styles_mut(|style| {
        style.text_styles = [
            (TextStyle::Small, FontId::proportional(12.0)),
            (TextStyle::Body, FontId::proportional(15.0)),
            (TextStyle::Button, FontId::proportional(15.0)),
            (TextStyle::Heading, FontId::proportional(22.0)),
            (
                TextStyle::Name("section".into()),
                FontId::proportional(17.0),
            ),
            (TextStyle::Monospace, FontId::monospace(14.0)),
        ]
        .into();
        style.spacing.item_spacing = Vec2::new(8.0, 8.0);
        style.spacing.button_padding = Vec2::new(10.0, 5.0);
        style.spacing.interact_size.y = 26.0;
        style.interaction.tooltip_delay = 0.3;
    });
    // What is usual for egui is too pale for text that people are to read.
    context.style_mut_of(egui::Theme::Dark, |style| {
        style.visuals.override_text_color = Some(Color32::from_gray(225));
        style.visuals.weak_text_color = Some(Color32::from_gray(175));
        style.visuals.widgets.inactive.bg_stroke = Stroke::new(1.0, Color32::from_gray(95));
    });
    context.style_mut_of(egui::Theme::Light, |style| {
        style.visuals.override_text_color = Some(Color32::from_gray(25));
        style.visuals.weak_text_color = Some(Color32::from_gray(85));
        style.visuals.widgets.inactive.bg_stroke = Stroke::new(1.0, Color32::from_gray(150));
    });
    choose(context, theme);
}

/// Makes the window light or dark.
pub(crate) fn choose(context: &egui::Context, theme: Theme) {
    context.set_theme(match theme {
        Theme::System => egui::ThemePreference::System,
        Theme::Light => egui::ThemePreference::Light,
        Theme::Dark => egui::ThemePreference::Dark,
    });
}

/// Returns a shape as the system shows it beside the window's name.
pub(crate) fn icon(icon: Icon) -> egui::IconData {
    egui::IconData {
        rgba: icon.rgba(SIDE),
        width: SIDE.into(),
        height: SIDE.into(),
    }
}

/// The dots of that shape, each way.
const SIDE: u8 = 64;

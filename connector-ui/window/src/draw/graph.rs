use connector_ui::icon::Colour;
use connector_ui::pages::Graph;
use connector_ui::texts::Texts;
use eframe::egui::{
    self, Align2, Color32, FontId, Label, Pos2, Rect, Role, Sense, Stroke, Ui, Vec2, WidgetInfo,
};

/// Draws figures over time, the latest at the right; the words above say the latest one.
pub(super) fn draw(ui: &mut Ui, graph: &Graph, texts: &Texts) {
    ui.add(Label::new(&graph.label).wrap());
    let size = Vec2::new(ui.available_width(), HEIGHT);
    let (response, painter) = ui.allocate_painter(size, Sense::hover());
    let name = texts.say_with("graph-name", [("label", graph.label.as_str().into())]);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
    let place = response.rect;
    let visuals = ui.visuals();
    painter.rect_filled(place, 4, visuals.extreme_bg_color);
    let [red, green, blue] = Colour::Blue.rgb();
    let line = Stroke::new(2.0, Color32::from_rgb(red, green, blue));
    for stroke in strokes(graph, place.shrink(3.0)) {
        painter.add(egui::Shape::line(stroke, line));
    }
    painter.text(
        place.left_top() + Vec2::new(6.0, 3.0),
        Align2::LEFT_TOP,
        &graph.top,
        FontId::proportional(11.0),
        visuals.weak_text_color(),
    );
}

/// Returns the lines; where there are no figures, there is a gap.
fn strokes(graph: &Graph, place: Rect) -> Vec<Vec<Pos2>> {
    let step = place.width() / STEPS;
    let mut strokes = vec![Vec::new()];
    let mut x = place.right();
    for figure in graph.figures.iter().rev() {
        match (figure, strokes.last_mut()) {
            (Some(figure), Some(stroke)) => {
                stroke.push(Pos2::new(x, place.bottom() - figure * place.height()));
            }
            (None, Some(stroke)) if !stroke.is_empty() => strokes.push(Vec::new()),
            (Some(_) | None, _) => {}
        }
        x -= step;
    }
    strokes.retain(|stroke| stroke.len() > 1);
    strokes
}

const HEIGHT: f32 = 44.0;

/// From one side to the other, in seconds.
const STEPS: f32 = 119.0;

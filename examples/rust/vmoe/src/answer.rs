//! What comes out, and the calls.

use std::ptr;

use vmoe_sys as sys;

use crate::error::{check, zeros, Result};
use crate::input::{Input, Picture};
use crate::model::Model;
use crate::options::Options;
use crate::report::{RawReport, Report};
use crate::text;

/// Which results a call shall give.
///
/// ```
/// use vmoe::{Input, Model, Options, Picture, Want};
///
/// # fn main() -> vmoe::Result<()> {
/// let model = Model::load("../../demo/fashion-mnist.vmoe")?;
/// let bag = std::fs::read("../../demo/pictures/bag.jpg").unwrap();
/// let gray = vec![128; 30 * 20 * 3];
/// let pictures = [
///     Picture::Jpeg(&bag),
///     Picture::Rgb8 { pixels: &gray, width: 30, height: 20, stride: 0 },
/// ];
/// let want = Want::new().logits().top(1).report();
/// let answer = model.run(Input::Pictures(&pictures), &want, &Options::new())?;
/// assert_eq!(answer.logits.len(), 2 * 10);
/// assert_eq!(answer.top[0].label, "Bag");
/// let report = answer.report.unwrap();
/// assert_eq!(report.assigned, report.processed + report.dropped);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Want {
    logits: bool,
    probabilities: bool,
    features: bool,
    member_logits: bool,
    top: Option<usize>,
    report: bool,
    routes: bool,
}

impl Want {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fill [`Answer::logits`].
    pub fn logits(mut self) -> Self {
        self.logits = true;
        self
    }

    /// Fill [`Answer::probabilities`].
    pub fn probabilities(mut self) -> Self {
        self.probabilities = true;
        self
    }

    /// Fill [`Answer::features`].
    pub fn features(mut self) -> Self {
        self.features = true;
        self
    }

    /// Fill [`Answer::member_logits`].
    pub fn member_logits(mut self) -> Self {
        self.member_logits = true;
        self
    }

    /// Fill [`Answer::top`] with the `count` most probable classes of each image, 1 to all.
    pub fn top(mut self, count: usize) -> Self {
        self.top = Some(count);
        self
    }

    /// Fill [`Answer::report`].
    pub fn report(mut self) -> Self {
        self.report = true;
        self
    }

    /// Fill [`Answer::report`] and its [`routes`](Report::routes).
    pub fn routes(mut self) -> Self {
        self.routes = true;
        self.report()
    }
}

/// One class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class<'m> {
    /// The class, from 0.
    pub index: u32,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// Its name; "" if the model has no labels.
    pub label: &'m str,
}

/// The results of a call.  What was not wanted is empty.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Answer<'m> {
    /// Images of the call.
    pub images: usize,
    /// (images, classes); of an ensemble, those that give its probabilities.
    pub logits: Vec<f32>,
    /// (images, classes), softmax or sigmoid as the model says; of an ensemble, the mean of its
    /// members'.
    pub probabilities: Vec<f32>,
    /// (images, features), the vectors that enter the head.
    pub features: Vec<f32>,
    /// (images, members, classes), the logits of every member of an ensemble.
    pub member_logits: Vec<f32>,
    /// (images, count), the most probable first; ties go to the lower index.
    pub top: Vec<Class<'m>>,
    /// What the call did.
    pub report: Option<Report>,
}

impl Model {
    /// The `count` most probable classes of a JPEG, best first.  Files that are truncated or damaged
    /// are refused.
    pub fn classify_jpeg(
        &self,
        jpeg: &[u8],
        count: usize,
        options: &Options,
    ) -> Result<Vec<Class<'_>>> {
        self.classify(Picture::Jpeg(jpeg), count, options)
    }

    /// The same for pixels, as in [`Picture::Rgb8`]: row y begins at `pixels[y * stride]`; stride 0
    /// means 3 * width.
    pub fn classify_rgb8(
        &self,
        pixels: &[u8],
        width: u32,
        height: u32,
        stride: usize,
        count: usize,
        options: &Options,
    ) -> Result<Vec<Class<'_>>> {
        self.classify(Picture::Rgb8 { pixels, width, height, stride }, count, options)
    }

    fn classify(
        &self,
        picture: Picture<'_>,
        count: usize,
        options: &Options,
    ) -> Result<Vec<Class<'_>>> {
        let want = Want::new().top(count);

        Ok(self.run(Input::Pictures(&[picture]), &want, options)?.top)
    }

    /// The logits, (images, classes).
    pub fn logits(&self, input: Input<'_>, options: &Options) -> Result<Vec<f32>> {
        Ok(self.run(input, &Want::new().logits(), options)?.logits)
    }

    /// The logits, (images, classes), to an array of the caller, which must have just that size.
    pub fn logits_into(
        &self,
        input: Input<'_>,
        options: &Options,
        logits: &mut [f32],
    ) -> Result<()> {
        let output = sys::vmoe_output {
            logits: logits.as_mut_ptr(),
            logits_length: logits.len(),
            ..Default::default()
        };

        // SAFETY: `output` points to `logits` and tells its length.
        unsafe { self.call(&input.raw(self.info().image_size()).raw, &output, options) }
    }

    /// The probabilities, (images, classes), softmax or sigmoid as the model says.
    pub fn probabilities(&self, input: Input<'_>, options: &Options) -> Result<Vec<f32>> {
        Ok(self.run(input, &Want::new().probabilities(), options)?.probabilities)
    }

    /// The vectors that enter the head, (images, features).
    pub fn features(&self, input: Input<'_>, options: &Options) -> Result<Vec<f32>> {
        Ok(self.run(input, &Want::new().features(), options)?.features)
    }

    /// Runs the model and gives all that is wanted.  Batches of any size are worked through in
    /// slices, so the working memory does not grow with the number of images.
    pub fn run(&self, input: Input<'_>, want: &Want, options: &Options) -> Result<Answer<'_>> {
        let input = input.raw(self.info().image_size());
        let images = input.raw.images;
        let mut buffers = Buffers::new(self, images, want, options)?;

        // SAFETY: `output` points to `buffers` and tells their lengths.
        unsafe { self.call(&input.raw, &buffers.output(), options)? };
        // SAFETY: labels live as long as the model.
        let top = buffers.top.values.iter().map(|raw| unsafe { class_from(raw) }).collect();
        Ok(Answer {
            images,
            logits: buffers.logits.values,
            probabilities: buffers.probabilities.values,
            features: buffers.features.values,
            member_logits: buffers.member_logits.values,
            top,
            report: buffers.report.map(Report::from),
        })
    }

    /// # Safety
    /// The pointers of `input` and `output` are NULL, or good for the lengths beside them, which the
    /// library compares with what the call needs.
    unsafe fn call(
        &self,
        input: &sys::vmoe_input,
        output: &sys::vmoe_output,
        options: &Options,
    ) -> Result<()> {
        options.with(|options| {
            check(|error| sys::vmoe_run(self.handle(), input, options, output, error))
        })
    }
}

/// # Safety
/// The label of `raw` lives as long as `'m`.
unsafe fn class_from<'m>(raw: &sys::vmoe_class) -> Class<'m> {
    Class {
        index: raw.index,
        probability: raw.probability,
        label: text::from_c(raw.label).unwrap_or(""),
    }
}

/// An array that the library fills; NULL to it if it is not wanted.
struct Array<T> {
    wanted: bool,
    values: Vec<T>,
}

impl<T: Clone> Array<T> {
    fn new(place: &str, wanted: bool, zero: T, length: usize) -> Result<Self> {
        Ok(Array { wanted, values: zeros(place, zero, if wanted { length } else { 0 })? })
    }

    fn pointer(&mut self) -> *mut T {
        if self.wanted {
            self.values.as_mut_ptr()
        } else {
            ptr::null_mut()
        }
    }
}

/// All that the library fills in a call.
struct Buffers {
    logits: Array<f32>,
    probabilities: Array<f32>,
    features: Array<f32>,
    member_logits: Array<f32>,
    top: Array<sys::vmoe_class>,
    top_count: usize,
    report: Option<RawReport>,
}

impl Buffers {
    fn new(model: &Model, images: usize, want: &Want, options: &Options) -> Result<Self> {
        let info = model.info();
        let of = |width: usize| images.saturating_mul(width);
        let (classes, features) = (info.classes() as usize, info.features() as usize);
        let no_class = sys::vmoe_class { index: 0, probability: 0.0, label: ptr::null() };
        // The library refuses more classes or experts than there are, and does not touch an array
        // that would be too short for them.
        let top = want.top.unwrap_or(0).min(classes);
        let members = info.members().max(1);
        let own = info.experts() / members;
        let picks = options.experts_or(info.experts_per_token()).min(own) as usize;
        let all = of(members as usize).saturating_mul(classes);

        Ok(Buffers {
            logits: Array::new("logits", want.logits, 0.0, of(classes))?,
            probabilities: Array::new("probabilities", want.probabilities, 0.0, of(classes))?,
            features: Array::new("features", want.features, 0.0, of(features))?,
            member_logits: Array::new("member_logits", want.member_logits, 0.0, all)?,
            top: Array::new("top", want.top.is_some(), no_class, of(top))?,
            top_count: want.top.unwrap_or(0),
            report: match want.report {
                true => Some(RawReport::new(info, images, if want.routes { picks } else { 0 })?),
                false => None,
            },
        })
    }

    /// Pointers to the arrays, good until `self` moves.
    fn output(&mut self) -> sys::vmoe_output {
        sys::vmoe_output {
            logits: self.logits.pointer(),
            logits_length: self.logits.values.len(),
            probabilities: self.probabilities.pointer(),
            probabilities_length: self.probabilities.values.len(),
            features: self.features.pointer(),
            features_length: self.features.values.len(),
            top: self.top.pointer(),
            top_length: self.top.values.len(),
            top_count: self.top_count,
            report: self.report.as_mut().map_or(ptr::null_mut(), RawReport::pointer),
            member_logits: self.member_logits.pointer(),
            member_logits_length: self.member_logits.values.len(),
            ..Default::default()
        }
    }
}

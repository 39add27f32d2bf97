"""Memory of the Python package: what the library reads in place, and what every layout gives."""
import array
import ctypes
import sys
import unittest
from typing import Any

import numpy as np

from support import MODEL, PICTURES, pixels, spied_library, tensors

import vmoe


class Arrays(unittest.TestCase):
    def setUp(self) -> None:
        self.model = vmoe.Model.load(MODEL)
        self.addCleanup(self.model.close)
        spying = spied_library()
        self.spy = spying.__enter__()
        self.addCleanup(spying.__exit__, None, None, None)

    def given(self, images: Any) -> Any:
        """The vmoe_input of a call with these images."""
        self.model.logits(images)
        return self.spy.inputs[-1]

    def test_dense_arrays_are_read_where_they_are(self) -> None:
        for images, field in ((tensors(self.model, 3), "tensor"), (pixels(self.model, 3), "pixels")):
            images.flags.writeable = False
            for some in (images, images[1:], images[2:3]):
                self.assertEqual(getattr(self.given(some), field), some.ctypes.data)

    def test_pictures_are_read_where_they_are(self) -> None:
        image = np.random.default_rng(3).integers(0, 256, (50, 60, 3), np.uint8)
        jpeg = PICTURES[0].read_bytes()
        readonly = image.copy()
        readonly.flags.writeable = False
        for picture in (image, readonly, image[7:31], image[7:31, 9:20], image[::2, 3:50]):
            raw = self.given([picture]).pictures[0]
            self.assertEqual((raw.data, raw.height, raw.width, raw.stride),
                             (picture.ctypes.data, *picture.shape[:2], picture.strides[0]))
        for data in (jpeg, bytearray(jpeg), memoryview(jpeg), array.array("B", jpeg)):
            if isinstance(data, array.array):
                data = memoryview(data)
            raw = self.given([data]).pictures[0]
            self.assertEqual(raw.data, np.frombuffer(data, np.uint8).ctypes.data)
            self.assertEqual(raw.bytes, len(jpeg))

    def test_results_are_written_where_they_are(self) -> None:
        result = self.model.run(tensors(self.model, 2))
        output = self.spy.outputs[-1]
        for name in ("logits", "probabilities", "features"):
            self.assertEqual(getattr(output, name), getattr(result, name).ctypes.data)
        report = output.report.contents
        for name in ("load", "routes"):
            self.assertEqual(getattr(report, name), getattr(result.report, name).ctypes.data)
        self.assertEqual(ctypes.addressof(report.layers.contents), result.report.layers.ctypes.data)

    def test_every_layout_gives_the_same(self) -> None:
        for images in (tensors(self.model, 2), pixels(self.model, 2)):
            expected = self.model.logits(images)
            spread = np.zeros((4, *images.shape[1:3], 6), images.dtype)[::2, :, :, ::2]
            spread[...] = images
            unaligned = np.zeros(images.nbytes + 1, np.uint8)[1:].view(images.dtype)
            unaligned = unaligned.reshape(images.shape)
            unaligned[...] = images
            mirrored = np.ascontiguousarray(images[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1]
            for other in (np.asfortranarray(images), spread, unaligned, mirrored,
                          images.swapaxes(1, 2).copy().swapaxes(1, 2)):
                np.testing.assert_array_equal(other, images)
                np.testing.assert_array_equal(self.model.logits(other), expected)
                given = self.spy.inputs[-1]
                self.assertEqual((given.tensor or given.pixels) % images.itemsize, 0)

    def test_every_layout_of_a_picture_gives_the_same(self) -> None:
        image = np.random.default_rng(4).integers(0, 256, (41, 37, 3), np.uint8)
        expected = self.model.classify(image)
        wide = np.zeros((41, 50, 4), np.uint8)
        wide[:, 5:42, :3] = image
        tall = np.ascontiguousarray(image.repeat(3, axis=0))
        for other in (np.asfortranarray(image), image[::-1].copy()[::-1], wide[:, 5:42, :3],
                      tall[::3], tall[2::3], image[:, ::-1].copy()[:, ::-1],
                      image[:, :, ::-1].copy()[:, :, ::-1], image.transpose(1, 0, 2).copy()
                      .transpose(1, 0, 2), image.tolist() and np.array(image.tolist(), np.uint8)):
            np.testing.assert_array_equal(other, image)
            self.assertEqual(self.model.classify(other), expected)
        lying = image[:, :1].copy().transpose(1, 0, 2)  # one row, to NumPy with 3 bytes a row
        for other in (lying, lying[::-1]):
            self.assertEqual(self.model.classify(other), self.model.classify(lying.copy(order="C")))
        row = np.broadcast_to(image[:1], image.shape)  # with a stride of zero
        self.assertEqual(self.model.classify(row), self.model.classify(row.copy()))

    def test_pixels_are_floats_are_pictures(self) -> None:
        images = pixels(self.model, 2)
        floats = images.astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
        expected = self.model.logits(floats)
        np.testing.assert_array_equal(self.model.logits(images), expected)
        np.testing.assert_array_equal(self.model.logits(list(images)), expected)

    def test_images_of_pillow(self) -> None:
        try:
            from PIL import Image
        except ImportError:
            self.skipTest("needs Pillow")
        colours = np.random.default_rng(5).integers(0, 256, (40, 30, 3), np.uint8)
        image = Image.fromarray(colours)
        self.assertEqual(self.model.classify(image), self.model.classify(colours))
        for mode in ("L", "RGBA", "P", "1", "CMYK"):
            other = image.convert(mode)
            self.assertEqual(self.model.classify(other),
                             self.model.classify(np.asarray(other.convert("RGB"))))
        with Image.open(PICTURES[0]) as opened:
            self.assertEqual(self.model.classify(opened),
                             self.model.classify(np.asarray(opened.convert("RGB"))))

    def test_inputs_are_kept_while_they_are_used(self) -> None:
        given = self.given([PICTURES[0].read_bytes(), np.zeros((5, 5, 3), np.uint8)])
        self.assertEqual(bytes(ctypes.string_at(given.pictures[0].data, given.pictures[0].bytes)),
                         PICTURES[0].read_bytes())
        taken = bytearray(PICTURES[0].read_bytes())
        kept = self.given([taken])
        with self.assertRaises(BufferError):  # it may not move as long as the input exists
            taken.extend(b"more")
        self.spy.inputs.clear()
        del kept
        taken.extend(b"more")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)

import unittest
from unittest import mock


def add(a, b):
    return a + b


class TestAdd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = 10

    def test_numbers(self):
        self.assertEqual(add(self.base, 1), 11)

    def test_table(self):
        for a, b, expected in [(1, 2, 3), (2, 2, 5)]:
            with self.subTest(a=a, b=b):
                self.assertEqual(add(a, b), expected)

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    def test_raises(self):
        with self.assertRaisesRegex(TypeError, "unsupported"):
            add(1, "x")

    def test_mock(self):
        with mock.patch(__name__ + ".add", return_value=7) as fake:
            self.assertEqual(add(1, 1), 7)
        fake.assert_called_once_with(1, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Right and wrong answers to the exercise of `exercise.ipynb`: a file like this stands in `tests/answers/`.

``RIGHT``: other ways to write it, two or more; the reference solution stands in the notebook. ``WRONG``: mistakes that
are easily made, five or more, each an edit of the reference or a text of its own, with words of the sentence that the
learner must be told, and the points that are kept. ``EQUIVALENT``: mutants of the reference that are no mistakes.
"""

from marking import Wrong

RIGHT = {
    "7.1": {
        "by sorting": '''
import torch

def top_pool(x, k):
    n, c, h, w = x.shape
    if not 0 < k <= h * w:
        raise ValueError("k")
    return torch.sort(x.reshape(n, c, h * w), dim=2, descending=True).values[:, :, :k].sum(2) / k
''',
        "one largest after the other": '''
import torch

def top_pool(x, k):
    if k < 1 or k > x.shape[2] * x.shape[3]:
        raise ValueError(f"k is {k}")
    left, total = x.flatten(2).clone(), 0
    for _ in range(k):
        value, place = left.max(dim=2, keepdim=True)
        total = total + value.squeeze(2)
        left = left.scatter(2, place, float("-inf"))
    return total / k
''',
    }
}
WRONG = {
    "7.1": [
        Wrong("the smallest", [("topk(k, dim=2)", "topk(k, dim=2, largest=False)")], "mean of the k smallest"),
        Wrong("the sum", [(".mean(dim=2)", ".sum(dim=2)")], "the sum of the k largest"),
        Wrong("the maximum", "def top_pool(x, k):\n    return x.amax((2, 3))\n", "the maximum alone"),
        Wrong("the mean of all", "def top_pool(x, k):\n    return x.mean((2, 3))\n", "the mean of the whole grid"),
        Wrong("the k-th alone", [(".mean(dim=2)", "[:, :, -1]")], "the k-th largest value alone"),
        Wrong("row by row", [("x.flatten(2).topk(k, dim=2)", "x.topk(min(k, x.shape[3]), dim=3)"),
                             (".mean(dim=2)", ".mean(dim=(2, 3))")], "taken in each row by itself"),
        Wrong("nothing is refused", [("if not 1 <= k <= x.shape[2] * x.shape[3]:", "if False:")],
              "more values than the grid has", 2),
        Wrong("zero is not refused", [("1 <= k <=", "k <=")], "k = 0 should be refused", 2),
    ]
}  # fmt: skip
EQUIVALENT = {"7.1": {"line 6: dim= dropped: x.flatten(2).topk(k, dim=2)": "behind flatten(2) axis 2 is the last"}}

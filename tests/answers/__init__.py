"""Right and wrong answers to each assignment: what its checks are themselves tested with. One module an assignment.

RIGHT: exercise -> {what is different about it: text}. WRONG: exercise -> list of `marking.Wrong`. EQUIVALENT: exercise ->
{what a mutant changed: why no check can, or need, tell it from the reference}.
"""

"""A search text's tree as Lance's full-text query over the columns of an index."""

from collections.abc import Callable, Sequence

from lancedb.query import BooleanQuery, FullTextQuery, MatchQuery, PhraseQuery
from lancedb.query import FullTextOperator as Operator
from lancedb.query import Occur as LanceOccur

from linarite.indexing.search.words import Group, Leaf, Mode, Node, Occur

_OCCURS = {
    Occur.MUST: LanceOccur.MUST,
    Occur.SHOULD: LanceOccur.SHOULD,
    Occur.MUST_NOT: LanceOccur.MUST_NOT,
}


def full_text(
    node: Node, columns: Sequence[str], mode: Mode, has_tokens: Callable[[str, str], bool]
) -> FullTextQuery | None:
    """The query of `node`; None where its analyzers leave nothing to look for.

    Args:
        node: what `words` read.
        columns: where leaves look that name no field.
        mode: whether all the tokens of one word must be there.
        has_tokens: whether a column's analyzer makes any token of a text.
    """
    if isinstance(node, Leaf):
        return _leaf(node, columns, mode, has_tokens)
    return _group(node, columns, mode, has_tokens)


def _group(
    node: Group, columns: Sequence[str], mode: Mode, has_tokens: Callable[[str, str], bool]
) -> FullTextQuery | None:
    clauses = []
    for occur, each in node.clauses:
        query = full_text(each, columns, mode, has_tokens)
        if query is not None:  # a stop word asks for nothing
            clauses.append((_OCCURS[occur], query))
    if all(occur is LanceOccur.MUST_NOT for occur, _ in clauses):
        return None
    return clauses[0][1] if len(clauses) == 1 else BooleanQuery(clauses)


def _leaf(
    leaf: Leaf, columns: Sequence[str], mode: Mode, has_tokens: Callable[[str, str], bool]
) -> FullTextQuery | None:
    looked_at = [leaf.field] if leaf.field else columns
    queries = [
        _in_column(leaf, column, mode) for column in looked_at if has_tokens(leaf.text, column)
    ]
    if len(queries) < 2:
        return queries[0] if queries else None
    return BooleanQuery([(LanceOccur.SHOULD, query) for query in queries])


def _in_column(leaf: Leaf, column: str, mode: Mode) -> FullTextQuery:
    if leaf.slop is not None:
        return PhraseQuery(leaf.text, column, slop=leaf.slop, document_granularity=None)
    return MatchQuery(
        leaf.text,
        column,
        boost=leaf.boost,
        operator=Operator.AND if mode == "all" else Operator.OR,
        fuzziness=0,  # these are as they are by default, which its types do not tell
        max_expansions=50,
        prefix_length=0,
        document_granularity=None,
    )

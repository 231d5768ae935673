"""Watches of gateway pods, shared by the releases that select the same ones.

In each namespace, a few selectors have a watch each. The rest of those with the same label keys share one watch of all
pods with these labels, for all values. So hundreds of selectors never need hundreds of watches.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextvars import Context
from dataclasses import dataclass, field
from itertools import combinations

from pluginrelease.core.apiserver import projections
from pluginrelease.core.apiserver.indexes import Index
from pluginrelease.core.apiserver.projections import JSON
from pluginrelease.core.apiserver.watching import Change
from pluginrelease.core.mesh import target
from pluginrelease.edges.kubernetes import limiter
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.informer import Informer, Topic
from pluginrelease.edges.kubernetes.resources import PODS

# selectors with a watch of their own, per namespace and label keys
WATCHED_ALONE = 4
# seconds that a pass waits for the first list of its pods; a rollback does not wait
LISTED_WITHIN = 5.0
# up to this many labels, a watch of fewer labels is looked for
MANY_LABELS = 6

Ring = Callable[[str], None]
Group = tuple[str | None, tuple[str, ...]]  # namespace, label keys


def topic_of(where: target.Pods) -> Topic:
    """Return the topic to watch for these pods."""
    return Topic(PODS, where.namespace, tuple(sorted(where.labels.items())))


def group_of(topic: Topic) -> Group:
    """Return the namespace and the label keys of a topic."""
    return topic.namespace, tuple(key for key, _ in topic.labels)


@dataclass(eq=False)
class SharedPods:
    """One watch, its pods indexed by label values, and the topics that use it."""

    informer: Informer
    by_values: Index
    task: asyncio.Task[None]
    topics: set[Topic] = field(default_factory=set)

    def find(self, topic: Topic) -> list[JSON]:
        """Return the pods of one topic."""
        return self.by_values.find(tuple(value for _, value in topic.labels))


class PodWatches:
    """Which pods are watched, and for which releases."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._watches: list[SharedPods] = []
        self._shared: dict[Topic, SharedPods] = {}
        self._wide: dict[Group, SharedPods] = {}
        self._alone: Counter[Group] = Counter()
        self._needed: dict[str, frozenset[Topic]] = {}
        self._users: dict[Topic, set[str]] = {}

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of the watches. Any thread may call it."""
        return [shared.task for shared in [*self._watches]]

    def stop(self) -> None:
        """Stop all watches."""
        for task in self.tasks():
            task.cancel()
        self._watches.clear()
        self._shared.clear()

    def need(self, uid: str, wanted: Collection[Topic], ring: Ring) -> None:
        """Watch only these pods for a release from now on; stop watches that no release needs.

        If a pod changes, ``ring`` is called with the uid of each release that needs it.
        """
        now, before = frozenset(wanted), self._needed.pop(uid, frozenset())
        if now:
            self._needed[uid] = now
        for topic in now - before:
            self._users.setdefault(topic, set()).add(uid)
            if topic not in self._shared:
                self._begin(topic, ring)
        for topic in before - now:
            self._users[topic].discard(uid)
            if not self._users[topic]:
                self._end(topic)

    def informer_of(self, where: target.Pods) -> Informer:
        """Return the informer of these pods; a release must need them."""
        return self._shared[topic_of(where)].informer

    def get(self, namespace: str, name: str) -> JSON | None:
        """Return one pod; None if no watch has it, or the watch may be out of date."""
        found = (shared.informer.get(namespace, name) for shared in self._watches if shared.informer.is_current)
        return next((pod for pod in found if pod is not None), None)

    async def find(self, where: target.Pods) -> list[JSON] | None:
        """Return the pods; None if they are not watched, or the watch may be out of date."""
        topic = topic_of(where)
        watched = next((known for known in wider_topics(topic) if known in self._shared), None)
        if watched is None:
            return None
        shared = self._shared[watched]
        if not limiter.is_way_back() and not shared.informer.is_current:
            await wait_until_listed(shared.informer)
        if not shared.informer.is_current:
            return None
        return [pod for pod in shared.find(watched) if is_there(pod, topic)]

    def _begin(self, topic: Topic, ring: Ring) -> None:
        group = group_of(topic)
        if self._alone[group] < WATCHED_ALONE or not topic.labels:
            self._alone[group] += 1
            shared = self._watch(topic, ring)
        else:
            wide = Topic(PODS, group[0], tuple((key, None) for key in group[1]))
            shared = self._wide[group] = self._wide.get(group) or self._watch(wide, ring)
        shared.topics.add(topic)
        self._shared[topic] = shared

    def _end(self, topic: Topic) -> None:
        del self._users[topic]
        shared, group = self._shared.pop(topic), group_of(topic)
        shared.topics.discard(topic)
        is_wide = self._wide.get(group) is shared
        self._alone[group] -= not is_wide
        if not shared.topics:
            shared.task.cancel()
            self._watches.remove(shared)
            if is_wide:
                del self._wide[group]

    def _watch(self, topic: Topic, ring: Ring) -> SharedPods:
        namespace, keys = group_of(topic)
        by_values = Index(lambda pod: [values_of(pod, keys)])
        informer = Informer(self._cluster, topic, projections.project_pod, indexes=(by_values,))

        def tell(change: Change, _is_own: bool) -> None:
            pods = (pod for pod in (change.old, change.new) if pod is not None)
            for values in {values_of(pod, keys) for pod in pods}:
                known = Topic(PODS, namespace, tuple(zip(keys, values, strict=True)))
                for uid in [*self._users.get(known, ())]:
                    ring(uid)

        informer.subscribe(tell)
        # in an empty context: the watch outlives the pass that began it, and must not use that pass's lane
        task = asyncio.get_running_loop().create_task(informer.follow(), context=Context())
        shared = SharedPods(informer, by_values, task)
        self._watches.append(shared)
        return shared


def values_of(pod: JSON, keys: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return the values of a pod's labels."""
    labels = pod["metadata"].get("labels") or {}
    return tuple(labels.get(key) for key in keys)


def wider_topics(topic: Topic) -> Iterator[Topic]:
    """Yield the topic, then those that include its pods: with fewer labels, or in every namespace."""
    yield topic
    if len(topic.labels) > MANY_LABELS:
        return
    for size in range(len(topic.labels), -1, -1):
        for labels in combinations(topic.labels, size):
            for namespace in dict.fromkeys((topic.namespace, None)):
                yield Topic(PODS, namespace, labels)


def is_there(pod: JSON, topic: Topic) -> bool:
    """Return whether a pod belongs to a topic."""
    labels = pod["metadata"].get("labels") or {}
    is_near = topic.namespace in (None, pod["metadata"]["namespace"])
    return is_near and all(labels.get(key) == value for key, value in topic.labels)


async def wait_until_listed(informer: Informer) -> None:
    """Return once the objects are listed, the list has failed, or the time is over."""
    try:
        await asyncio.wait_for(informer.known(), LISTED_WITHIN)
    except TimeoutError:
        return

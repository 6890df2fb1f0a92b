"""Datasets: build a version from submitted responses, look at its rows, freeze it under its hash."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.datasets.queries import list_datasets
from workbench.ui import dataset_build, dataset_view, guard, page

visit = guard.visit()
page.header("Datasets", "Turn submitted responses into versions that a fine-tune can learn from, each named by its hash.")

with visit.read() as session:
    versions = list_datasets(session, visit.project.id)

may_build = visit.can(Permission.BUILD_DATASETS)
chosen = st.query_params.get("dataset")
version = next((each for each in versions if each.id == chosen), None)

if version is not None:
    dataset_view.show_version(visit, version, versions)
elif st.query_params.get("build") and may_build:
    dataset_build.show_form(visit, versions)
else:
    dataset_view.show_list(visit, versions, may_build=may_build)

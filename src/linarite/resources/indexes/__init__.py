"""The embedded indexes, in Azure AI Search's REST dialect."""

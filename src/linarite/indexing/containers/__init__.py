"""Where documents lie: an Azure Blob container, a folder, this server's own store."""

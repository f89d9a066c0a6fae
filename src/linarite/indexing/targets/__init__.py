"""Where chunks go: Azure AI Search and the embedded index, Cosmos DB, Pinecone."""

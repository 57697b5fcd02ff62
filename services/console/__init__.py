"""The console: the pages on which people use Tenure, over the services' public routes."""

"""Long recordings: several at once in processes of their own, and the pages that show what happens in them."""

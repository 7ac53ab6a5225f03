"""Small copies of clips, which training reads faster, and the list of them."""

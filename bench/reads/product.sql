select p.id, p.title, p.description, p.price, c.id, c.name, p.is_active, p.created_at, p.updated_at
from product p join category c on c.id = p.category_id where p.id = 1;
